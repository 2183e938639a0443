"""How much of MiniLM to unfreeze, end to end: ``zoo head train`` of three tails on forty examples, then served."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydrazoo.client import Client

import heads
from heads.base.building.parity import exported_from
from serving.loader import load_plan
from tests.support.recording_runtime import Recording
from tests.support.sample_zoo import zoo_command
from tests.support.serve_command import serving
from zoo import Zoo
from zoo.export import ParityBench
from zoo.preprocessing import collate, load_preprocessor

TAILS = {
    "frozen": "None",
    "lora": 'Tail(blocks=2, how="lora", rank=4)',
    "whole": 'Tail(blocks="all")',
}
EACH = {"train": 6, "valid": 2, "test": 2}
LABELS = ("refund", "cancel", "praise", "bug_report")
HEAD_PY = '''"""A head with a tail, or none."""

from heads.base import Classify, Head, Tail

__all__ = ["HEAD", "Tail"]

HEAD = Head(name="{name}", team="{name}", task=Classify(labels={labels!r}), tail={tail})
'''

pytestmark = pytest.mark.slow


def reduced_labels() -> str:
    """Return the first few lines of four of the intent head's labels in each split."""
    seen: Counter[tuple[str, str]] = Counter()
    lines = []
    for line in (Path(heads.__path__[0]) / "intent" / "labels.jsonl").read_text().splitlines():
        found = json.loads(line)
        key = (found["label"], found["split"])
        seen[key] += 1
        if found["label"] in LABELS and seen[key] <= EACH.get(found["split"], 0):
            lines.append(json.dumps({**found, "slices": []}))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def tails_zoo(minilm_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A zoo with MiniLM and the three heads, made by the commands that a team types."""
    folder = tmp_path_factory.mktemp("tails")
    zoo = Path(shutil.copytree(minilm_zoo, folder / "zoo"))
    for name, tail in TAILS.items():
        package = folder / "heads" / name
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package / "head.py").write_text(HEAD_PY.format(name=name, labels=LABELS, tail=tail))
        rate = 1e-3 if name in ("frozen", "lora") else 1e-4
        (package / "recipe.toml").write_text(f"epochs = 2\nbatch_size = 8\nlearning_rate = {rate}\n")
        (package / "labels.jsonl").write_text(reduced_labels())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(heads, "__path__", [*heads.__path__, str(folder / "heads")])
        zoo_command(zoo, "head", "train", *TAILS, "--promote", "prod")
    yield zoo
    for name in [name for name in sys.modules if name.startswith(tuple(f"heads.{each}" for each in TAILS))]:
        del sys.modules[name]


def test_what_each_tail_adds_to_the_zoo_and_to_the_plan(tails_zoo: Path) -> None:
    runtime = Recording()
    with Zoo.open(tails_zoo) as zoo:
        load_plan(zoo, runtime)
        manifests = {name: zoo.manifest(zoo.resolve(name).version) for name in TAILS}
        body = zoo.backbone("minilm").manifest.stages
        own = {
            name: sum(zoo.stage(stage.digest).parameters for stage in manifest.stages[manifest.shared_stages :])
            for name, manifest in manifests.items()
        }
        whole = sum(zoo.stage(stage.digest).parameters for stage in body)
        assert zoo.verify() == []
    assert {name: manifest.shared_stages for name, manifest in manifests.items()} == {
        "frozen": 3,
        "lora": 2,
        "whole": 0,
    }
    assert sorted(runtime.loaded) == sorted(
        [stage.name for stage in body]
        + [f"{name}/head" for name in TAILS]
        + ["lora/2", "whole/0", "whole/1", "whole/2"]
    )
    assert own["frozen"] < 2000
    assert 0.1 * whole < own["lora"] < 0.2 * whole
    assert own["whole"] == whole + own["frozen"]


def test_a_served_tail_answers_as_its_stages_do_in_torch(tails_zoo: Path) -> None:
    texts = [json.loads(line)["text"] for line in reduced_labels().splitlines() if '"test"' in line]
    with serving(tails_zoo) as server, Client(server.address) as client:
        answers: list[Any] = [client.predict(text=text, heads=list(TAILS)) for text in texts]
    bench = ParityBench()
    with Zoo.open(tails_zoo) as zoo:
        for name in TAILS:
            manifest = zoo.manifest(zoo.resolve(name).version)
            path = [exported_from(zoo, stage.digest) for stage in manifest.stages]
            preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
            for text, answer in zip(texts, answers, strict=True):
                right = bench.run("torchscript", path, collate([preprocessor(text)], preprocessor))["scores_NC"][0]
                assert answer[name].label == LABELS[int(np.argmax(right))], (name, text)
                found = [answer[name].scores[label] for label in LABELS]
                assert np.abs(right - found).max() < 1e-4, (name, text)
