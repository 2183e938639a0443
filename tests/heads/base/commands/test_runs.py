"""What ``zoo head train`` leaves behind: a run with its epochs, that TensorBoard reads, and that says why it failed."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from heads.base.runs.folder import KEPT_RUNS
from tests.support.head_packages import TeamFolder, among_the_teams
from zoo.commands import main

HEAD_PY = '''"""The mood head."""

from heads.base import Classify, Gate, Head

GATE = Gate(bounds={"accuracy": 0.9})
HEAD = Head(name="mood", team="mood", backbone="tiny", task=Classify(labels=("good", "bad")), gate=GATE)
'''


@pytest.fixture
def mood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TeamFolder]:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with among_the_teams(TeamFolder(tmp_path / "more_heads" / "mood"), head=HEAD_PY) as team:
        yield team


def run(zoo: Path, *words: str, code: int = 0) -> str:
    result = CliRunner().invoke(main, [*words, "--zoo", str(zoo)])
    assert result.exit_code == code, result.output
    return result.output


def runs(zoo: Path) -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(run(zoo, "head", "runs", "mood", "--json"))
    return listed


def test_a_training_is_listed_with_its_epochs_and_its_best_metric(mood: TeamFolder, zoo_folder: Path) -> None:
    assert "no runs of mood" in run(zoo_folder, "head", "runs", "mood")
    run(zoo_folder, "head", "train", "mood")
    (listed,) = runs(zoo_folder)
    assert (listed["kind"], listed["state"]) == ("train", "done")
    assert 1 <= listed["best_epoch"] <= listed["epochs"] <= 20
    assert listed["metrics"]["accuracy"] >= 0.9
    shown = run(zoo_folder, "head", "runs", "mood")
    assert f"macro_f1 {listed['metrics']['macro_f1']:.3f} (epoch {listed['best_epoch']})" in shown
    read = EventAccumulator(listed["tensorboard"])
    read.Reload()
    assert len(read.Scalars("valid/macro_f1")) == listed["epochs"]
    assert not list(Path(listed["folder"], "checkpoint").glob("*.safetensors"))


def test_what_is_unchanged_begins_no_run_and_what_is_forced_begins_it_anew(mood: TeamFolder, zoo_folder: Path) -> None:
    run(zoo_folder, "head", "train", "mood")
    (first,) = runs(zoo_folder)
    run(zoo_folder, "head", "train", "mood")
    assert runs(zoo_folder) == [first]
    run(zoo_folder, "head", "train", "mood", "--force")
    (again,) = runs(zoo_folder)
    assert again["began_at"] > first["began_at"]
    assert (again["epochs"], again["metrics"]) == (first["epochs"], first["metrics"])


def test_a_head_below_its_gate_leaves_a_run_that_says_so(mood: TeamFolder, zoo_folder: Path) -> None:
    mood.write_recipe("epochs = 1\nlearning_rate = 1e-9\n")
    run(zoo_folder, "head", "train", "mood", code=1)
    (listed,) = runs(zoo_folder)
    assert listed["state"] == "failed"
    assert "accuracy" in listed["message"]


def test_the_newest_runs_are_kept(mood: TeamFolder, zoo_folder: Path) -> None:
    mood.write_recipe("epochs = 1\nlearning_rate = 1e-9\n")
    for number in range(KEPT_RUNS + 1):
        folder = zoo_folder / "runs" / "mood" / f"{number:012}"
        folder.mkdir(parents=True)
        record = {"head": "mood", "key": folder.name, "began_at": f"2026-01-{number + 1:02}T00:00:00+00:00"}
        (folder / "run.json").write_text(json.dumps(record))
    run(zoo_folder, "head", "train", "mood", code=1)
    names = [listed["run"] for listed in runs(zoo_folder)]
    assert len(names) == KEPT_RUNS
    assert not {"000000000000", "000000000001"} & set(names)


def test_mlflow_is_asked_for_by_its_own_variable(
    mood: TeamFolder, zoo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://localhost:1")
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert "pip install mlflow" in run(zoo_folder, "head", "train", "mood", code=1)
