"""How much to unfreeze: linear probing, LP-FT, the last blocks, LoRA and everything, on one table.

``python -m benchmarks.finetune.unfreeze`` fine-tunes a team's head in each way, publishes it in a zoo of its own, and
measures what was published: the exported path answers the valid split. Each way may choose its best epoch there, so
compare the rows with each other; the test split is not read for a choice that this table may lead to.
"""

import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from heads.base import Gate, Head, Tail
from heads.base.backbones import add_backbone
from heads.base.building.bench import Bench
from heads.base.building.build import build_head
from heads.base.building.ingredients import gather
from heads.base.building.parity import exported_from
from heads.base.building.phases import Phases
from heads.base.inspect.statistics import Interval, bootstrap
from heads.base.packages import Package, load_package
from heads.base.tasks.metrics import measure
from heads.base.tasks.targets import found_target
from zoo import Zoo
from zoo.console import print_table
from zoo.export import ExportedStage, ParityBench
from zoo.labels import Target
from zoo.manifest import VersionManifest
from zoo.preprocessing import Row, collate, load_preprocessor

__all__ = ["main"]

BATCH = 32
RESAMPLES = 1000
BACKBONE = "body"

Batch = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way to fine-tune: what is trained, and what it changes in the team's recipe."""

    name: str
    tail: Tail | None
    recipe: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """What came of a way, for one seed.

    Attributes:
        manifest: of the version.
        path: its exported stages, from input to answer.
        trained: how many numbers were trained.
        seconds: of the training alone.
    """

    manifest: VersionManifest
    path: tuple[ExportedStage, ...]
    trained: int
    seconds: float

    @property
    def own(self) -> tuple[ExportedStage, ...]:
        """The stages that are not the backbone's."""
        return self.path[self.manifest.shared_stages :]

    @property
    def added_mb(self) -> float:
        """Size of every stored form of them."""
        return sum(len(data) for stage in self.own for data in stage.blobs.values()) / 1e6


def ways(blocks: int, epochs: int, probe_epochs: int, rate: float) -> tuple[Way, ...]:
    """Return what is compared; the team's recipe is the probe's, and where blocks are trained, lower ones learn slower.

    Args:
        blocks: of the ways that train the last few.
        epochs: of the ways that train blocks.
        probe_epochs: of the head alone, before LP-FT trains the rest.
        rate: learning rate of the head in these; adapters, which begin as nothing, all learn at the probe's.
    """
    fine = {"epochs": epochs, "learning_rate": rate, "layer_decay": 0.8, "patience": epochs}
    return (
        Way(name="LP", tail=None, recipe={}),
        Way(name=f"last {blocks}", tail=Tail(blocks=blocks), recipe=fine),
        Way(name=f"LoRA, last {blocks}", tail=Tail(blocks=blocks, how="lora"), recipe={"epochs": epochs}),
        Way(name="LoRA, all", tail=Tail(blocks="all", how="lora"), recipe={"epochs": epochs}),
        Way(name="full", tail=Tail(blocks="all"), recipe=fine),
        Way(name="LP-FT", tail=Tail(blocks="all"), recipe={**fine, "probe_epochs": probe_epochs}),
    )


@click.command()
@click.option("--team", default="intent", show_default=True, help="Whose labels and recipe; of texts.")
@click.option("--blocks", default=2, show_default=True, help="Of the ways that train the last few.")
@click.option("--examples", default=0, help="Training examples a label, to see how little is enough; 0 takes all.")
@click.option("--epochs", default=12, show_default=True, help="Of the ways that train blocks.")
@click.option("--probe-epochs", default=12, show_default=True, help="Of LP-FT, before it.")
@click.option("--rate", default=2e-4, show_default=True, help="Learning rate of the ways that train whole blocks.")
@click.option("--seeds", default=1, show_default=True, help="How often each way is trained.")
@click.option("--rounds", default=3, show_default=True, help="How often the paths are timed; the best counts.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the zoo here: what is built is not built again.")
def main(
    team: str,
    blocks: int,
    examples: int,
    epochs: int,
    probe_epochs: int,
    rate: float,
    seeds: int,
    rounds: int,
    folder: Path | None,
) -> None:
    """Compare ways to fine-tune one head. Leave the machine alone meanwhile.

    Example: python -m benchmarks.finetune.unfreeze --team intent --seeds 3
    """
    package = load_package(team)
    compared = ways(blocks, epochs, probe_epochs, rate)
    with _zoo(folder, package.head.backbone) as zoo, tempfile.TemporaryDirectory() as scratch:
        built = {
            way.name: [_built(zoo, package, way, seed, examples, Path(scratch)) for seed in range(seeds)]
            for way in compared
        }
        first = next(iter(built.values()))[0].manifest
        preprocessor = load_preprocessor(first.preprocessing, zoo.blobs.get)
        valid = package.labels().for_training().valid
        rows = [preprocessor(zoo.blobs.get(each.image) if each.image else each.text) for each in valid]
        wanted = [example.target for example in valid]
        order = sorted(range(len(rows)), key=lambda place: rows[place].length)
        places = [order[start : start + BATCH] for start in range(0, len(order), BATCH)]
        batches = [collate([rows[place] for place in chosen], preprocessor) for chosen in places]
    bench = ParityBench()
    scores = {
        name: _score(package.head, [_answers(bench, each, rows, places, batches) for each in seeded], wanted)
        for name, seeded in built.items()
    }
    times = _times_ms(bench, {name: seeded[0] for name, seeded in built.items()}, batches, len(rows), rounds)
    _print(package.head, built, scores, times, len(rows))


@contextmanager
def _zoo(folder: Path | None, source: str) -> Iterator[Zoo]:
    with tempfile.TemporaryDirectory() as scratch, Zoo.open(folder or scratch, create=True) as zoo:
        if not zoo.backbones():
            add_backbone(zoo, source, name=BACKBONE, key=None)
        yield zoo


def _built(zoo: Zoo, package: Package, way: Way, seed: int, examples: int, scratch: Path) -> Built:
    """Fine-tune and publish a head in one way; in a zoo that has it already, only look it up."""
    name = f"{way.name.lower().replace(' ', '-').replace(',', '')}-{seed}"
    changed = Package(
        head=replace(package.head, name=name, team=name, backbone=BACKBONE, tail=way.tail, gate=Gate()),
        folder=scratch / name,
    )
    changed.folder.mkdir()
    (changed.folder / "labels.jsonl").write_text(_fewer(package, examples), encoding="utf-8")
    asked = {**package.recipe().model_dump(exclude_defaults=True), **way.recipe, "seed": seed}
    lines = [f"{key} = {json.dumps(value)}\n" for key, value in asked.items()]
    (changed.folder / "recipe.toml").write_text("".join(lines), encoding="utf-8")
    done = build_head(zoo, changed, by="benchmark")
    manifest = zoo.manifest(done.version)
    network = Bench(zoo, gather(zoo, changed), Phases()).network()
    return Built(
        manifest=manifest,
        path=tuple(exported_from(zoo, stage.digest) for stage in manifest.stages),
        trained=sum(weight.numel() for layer in network.layers() for weight in layer.parameters),
        seconds=done.seconds.get("train", float("nan")),
    )


def _fewer(package: Package, examples: int) -> str:
    """Return the lines of a labels file, with at most so many training examples a label; 0 leaves all."""
    seen: Counter[str] = Counter()
    kept = []
    for line in (package.folder / "labels.jsonl").read_text(encoding="utf-8").splitlines():
        found = json.loads(line)
        label = str(found.get("label", ""))
        seen[label] += found["split"] == "train"
        if not examples or found["split"] != "train" or seen[label] <= examples:
            kept.append(line)
    return "\n".join(kept) + "\n"


def _answers(
    bench: ParityBench, built: Built, rows: Sequence[Row], places: Sequence[Sequence[int]], batches: Sequence[Batch]
) -> list[Target]:
    """Return the answer to each row, as a server decodes it."""
    answer = built.manifest.answer
    found: dict[int, Target] = {}
    for chosen, batch in zip(places, batches, strict=True):
        values = bench.run("onnx", built.path, batch)[answer.output]
        for place, each in zip(chosen, values, strict=True):
            trimmed = each[: rows[place].length] if answer.kind == "tag" else each
            found[place] = found_target(answer, {answer.output: trimmed}, rows[place])
    return [found[place] for place in range(len(rows))]


def _score(head: Head, found: Sequence[Sequence[Target]], wanted: Sequence[Target]) -> tuple[float, Interval]:
    """Return the task's first metric, the mean of all seeds, and its interval over drawn examples."""
    metric = head.task.metrics[0]

    def measured(places: NDArray[np.int64]) -> float:
        right = [wanted[place] for place in places]
        drawn = [measure(head.task, right, [answers[place] for place in places]) for answers in found]
        return float(np.mean([values.get(metric, float("nan")) for values in drawn]))

    return measured(np.arange(len(wanted))), bootstrap(measured, len(wanted), resamples=RESAMPLES)


def _times_ms(
    bench: ParityBench, built: Mapping[str, Built], batches: Sequence[Batch], rows: int, rounds: int
) -> dict[str, tuple[float, float]]:
    """Return the time of each whole path, and of its own stages alone, in ms a row: the best of rounds by turns."""
    best = dict.fromkeys(built, (float("inf"), float("inf")))
    for _ in range(rounds):
        for name, each in built.items():
            shared = each.path[: each.manifest.shared_stages]
            whole_s = own_s = 0.0
            for batch in batches:
                began_s = time.perf_counter()
                known = bench.run("onnx", shared, batch)
                between_s = time.perf_counter()
                bench.run("onnx", each.own, known)
                ended_s = time.perf_counter()
                whole_s += ended_s - began_s
                own_s += ended_s - between_s
            whole_ms, own_ms = best[name]
            best[name] = min(whole_ms, whole_s * 1000 / rows), min(own_ms, own_s * 1000 / rows)
    return best


def _print(
    head: Head,
    built: Mapping[str, Sequence[Built]],
    scores: Mapping[str, tuple[float, Interval]],
    times: Mapping[str, tuple[float, float]],
    rows: int,
) -> None:
    table = []
    for name, seeded in built.items():
        (score, interval), (whole_ms, own_ms) = scores[name], times[name]
        table.append(
            (
                name,
                f"{score:.3f} [{interval.low:.3f}, {interval.high:.3f}]",
                f"{seeded[0].trained:,}",
                f"{np.mean([each.seconds for each in seeded]):.1f}",
                f"{seeded[0].added_mb:.2f}",
                f"{1000 / whole_ms:.0f}",
                f"{own_ms:.3f}",
            )
        )
    metric = f"valid {head.task.metrics[0]}, n = {rows}"
    columns = ("way", metric, "trained", "s", "MB in the zoo", f"rows/s, batch {BATCH}", "ms a row beside others")
    print_table(columns, table)


if __name__ == "__main__":
    main()
