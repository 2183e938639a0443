"""What certainty costs and brings: a temperature, the last-layer Laplace and the random-feature process, side by side.

``python -m benchmarks.finetune.uncertainty`` trains two teams' heads on MiniLM and fits each of them, as a build does.
Nearly alike are the other team's training texts. Unlike are the first lines of the standard library's docstrings, which
the random-feature process was designed with, and two kinds of texts that nothing was designed with: sentences about
scikit-learn's data sets, and names of Unicode characters. Temperatures were fitted on the valid split, so calibration
is measured on the test split; nothing is chosen by it.
"""

import ast
import functools
import importlib.resources
import itertools
import re
import sysconfig
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from heads.base import Head
from heads.base.backbones import add_backbone
from heads.base.building.bench import Bench
from heads.base.building.ingredients import Ingredients, gather
from heads.base.building.phases import Phases
from heads.base.network import Network
from heads.base.packages import load_package
from heads.base.readings import read_test_split
from heads.base.tasks.metrics import measure
from heads.base.tasks.modules import HeadStage
from heads.base.tasks.targets import answer_of
from heads.base.training import Encoded, answers_of, encode, outputs_of, train_head
from heads.base.uncertainty.fitting import with_certainty
from heads.base.uncertainty.metrics import certainty_metrics, outside_features
from zoo import Zoo
from zoo.console import print_table
from zoo.errors import InvalidInput, NotFound
from zoo.export import export_stage
from zoo.manifest import Metrics, SliceMetrics

__all__ = ["main"]

TEAMS = {"topics": "intent", "intent": "topics"}
"""Each with the team whose texts are not its own."""

METHODS: Mapping[str, dict[str, Any]] = {
    "none": {},
    "temperature": {"calibrate": True},
    "laplace": {"uncertainty": "laplace"},
    "gp": {"uncertainty": "gp"},
}
BATCHES, TOKENS, RUNS = (1, 32), 16, 200
SENTENCES, SHORTEST, LONGEST = 400, 20, 200
FIRST_IDEOGRAPH = 0x2E80
EMPTY = Metrics(overall=SliceMetrics(examples=0, values={}), slices={})

Features = Sequence[Mapping[str, NDArray[Any]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A team's splits, and what is not its own, as features."""

    head: Head
    ingredients: Ingredients
    bench: Bench
    splits: Mapping[str, tuple[Any, Any, Any]]
    strangers: Mapping[str, Features]


@click.command()
@click.option("--team", "teams", multiple=True, type=click.Choice(list(TEAMS)), help="One of them alone.")
@click.option("--seeds", default=5, show_default=True, help="How often each head is trained.")
@click.option("--rounds", default=7, show_default=True, help="How often each head is timed; the best counts.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the zoo here, with its features.")
def main(teams: tuple[str, ...], seeds: int, rounds: int, folder: Path | None) -> None:
    """Print a table for each team: means over the seeds, standard deviations behind ±."""
    torch.set_num_threads(1)
    with nullcontext(folder) if folder else tempfile.TemporaryDirectory() as place, Zoo.open(place, create=True) as zoo:
        _have_backbone(zoo)
        for team in teams or TEAMS:
            prepared = prepare(zoo, team)
            found = [measured(prepared, seed, rounds) for seed in range(seeds)]
            print_table(("", *next(iter(found[0].values()))), _table(found), title=f"{team}, {seeds} seeds")


def prepare(zoo: Zoo, team: str) -> Prepared:
    """Compute every feature that is needed of a team, once."""
    package = load_package(team)
    ingredients = gather(zoo, package)
    bench = Bench(zoo, ingredients, Phases())
    known = ingredients.labels.for_training()
    test = read_test_split(
        zoo, team, ingredients.labels, by="benchmark", reason="calibration", build_key=ingredients.key
    )
    splits = {}
    for name, examples in (("train", known.train), ("valid", known.valid), ("test", test.examples)):
        rows = bench.rows(examples)
        splits[name] = (examples, rows, bench.features(rows))
    head = replace(package.head, calibrate=True, ood=TEAMS[team])
    strangers: dict[str, Features] = {"another team": outside_features(head, bench, zoo.blobs)}
    strangers |= {name: _features_of(bench, texts()) for name, texts in UNLIKE.items()}
    return Prepared(head=head, ingredients=ingredients, bench=bench, splits=splits, strangers=strangers)


def measured(prepared: Prepared, seed: int, rounds: int) -> dict[str, dict[str, float]]:
    """Train a head, and return what is measured of it with each method, by the method's name and by column."""
    encoded = functools.partial(_encoded, prepared)
    recipe = prepared.ingredients.recipe.model_copy(update={"seed": seed})
    plain, valid, _ = train_head(
        prepared.bench.network, lambda network: (encoded(network, "train"), encoded(network, "valid")), recipe
    )
    heads, seconds = {}, {}
    for name, certainty in METHODS.items():
        declared = replace(prepared.head, ood="", **({"calibrate": False} | certainty))
        started = time.perf_counter()
        heads[name] = with_certainty(declared, plain, lambda: encoded(plain, "train"), valid, seed=seed)
        seconds[name] = time.perf_counter() - started
    test = encoded(plain, "test")
    qualities = {name: _quality(prepared, head, test) for name, head in heads.items() if name != "none"}
    qualities["none"] = _quality(prepared, heads["temperature"], test, "_plain")
    costs = _costs(heads, prepared, rounds)
    return {name: qualities[name] | {"fit, s": seconds[name]} | costs[name] for name in METHODS}


def docstrings() -> list[str]:
    """Return first lines of docstrings of Python's standard library, unlike what a customer writes."""
    files = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    parts = (part for file in files for part in ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    documented = (ast.FunctionDef, ast.ClassDef, ast.Module)
    return _some((ast.get_docstring(part) or "").partition("\n")[0] for part in parts if isinstance(part, documented))


def descriptions() -> list[str]:
    """Return sentences about the data sets that scikit-learn brings: flowers, wines, houses, patients."""
    folder = importlib.resources.files("sklearn.datasets") / "descr"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".rst")), key=lambda file: file.name)
    texts = (re.sub(r"\s+", " ", file.read_text(encoding="utf-8")) for file in files)
    # From one full stop to the next, and without what tables, formulas and markup are made of.
    return _some(found for text in texts for found in re.findall(r"(?<=\. )[A-Z][^.|=:*`_<>+#]+\.", text))


def character_names() -> list[str]:
    """Return names of Unicode characters: short, in capitals, and about nothing that a customer asks for."""
    return _some(unicodedata.name(chr(code), "") for code in range(FIRST_IDEOGRAPH))


UNLIKE: Mapping[str, Callable[[], list[str]]] = {
    "docstrings": docstrings,
    "descriptions": descriptions,
    "character names": character_names,
}
"""Strangers that no head was trained on. The first ones are those that the process was designed with."""


def _some(texts: Iterable[str]) -> list[str]:
    """Return different texts that are neither very short nor very long, drawn always alike."""
    lines = list(dict.fromkeys(text for text in texts if SHORTEST <= len(text) <= LONGEST))
    chosen = np.random.default_rng(0).permutation(len(lines))[:SENTENCES]
    return [lines[index] for index in chosen]


def _have_backbone(zoo: Zoo) -> None:
    try:
        zoo.backbone("minilm")
    except NotFound:
        add_backbone(zoo, "minilm", key=None)


def _features_of(bench: Bench, texts: Sequence[str]) -> Features:
    rows = []
    for text in texts:
        with suppress(InvalidInput):  # too long
            rows.append(bench.preprocessor(text))
    return bench.features(rows)


def _encoded(prepared: Prepared, network: Network, split: str) -> Encoded:
    return encode(network, *prepared.splits[split])


def _quality(prepared: Prepared, head: Network, test: Encoded, suffix: str = "") -> dict[str, float]:
    """Return how good a head and its certainty are; with the suffix, as it was trained."""
    found = {
        strangers: certainty_metrics(EMPTY, head, test, outside).overall.values
        for strangers, outside in prepared.strangers.items()
    }
    known = next(iter(found.values()))
    name = head.task.metrics[0]
    answers = measure(head.task, test.wanted, answers_of(answer_of(head.task), outputs_of(head, test), test.rows))
    return {
        name: answers[name],
        "ECE": known[f"ece{suffix}"],
        "NLL": known[f"nll{suffix}"],
        **{f"AUROC, {strangers}": values[f"ood_auroc{suffix}"] for strangers, values in found.items()},
    }


def _costs(heads: Mapping[str, Network], prepared: Prepared, rounds: int) -> dict[str, dict[str, float]]:
    """Return the size of each exported head and its time a row; they are timed in turn, and the best of each counts."""
    example = prepared.bench.example(prepared.splits["valid"][1])
    sessions, found = {}, {}
    for name, head in heads.items():
        assert isinstance(head, HeadStage)
        data = export_stage(head, example=example).artifact("onnx")
        sessions[name], found[name] = _session(data), {"KB": len(data) / 1000}
    for rows in BATCHES:
        feeds = {
            name: np.repeat(np.repeat(each.numpy()[:, :1], TOKENS, axis=1), rows, axis=0)
            for name, each in example.items()
            if name in {value.name for value in sessions["none"].get_inputs()}
        }
        best = dict.fromkeys(heads, float("inf"))
        for _, name in itertools.product(range(rounds), heads):
            best[name] = min(best[name], _time_us(sessions[name], feeds) / rows)
        for name, each in best.items():
            found[name][f"µs a row, batch {rows}"] = each
    return found


def _session(data: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _time_us(session: onnxruntime.InferenceSession, feeds: Mapping[str, NDArray[Any]]) -> float:
    started = time.perf_counter()
    for _ in range(RUNS):
        session.run(None, feeds)
    return (time.perf_counter() - started) / RUNS * 1e6


def _table(found: Sequence[Mapping[str, Mapping[str, float]]]) -> list[tuple[str, ...]]:
    table = []
    for name in METHODS:
        columns = {column: [each[name][column] for each in found] for column in found[0][name]}
        table.append((name, *(_cell(values) for values in columns.values())))
    return table


def _cell(values: Sequence[float]) -> str:
    mean, spread = float(np.mean(values)), float(np.std(values))
    return f"{mean:.3f} ± {spread:.3f}" if mean < 10 else f"{mean:.0f}"


if __name__ == "__main__":
    main()
