"""Whole builds in two processes, as torchrun starts them: one version, one reading, one message, whatever happens."""

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.support.build_files import ROOT
from tests.support.head_packages import TeamFolder, mood_lines
from zoo import Zoo

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
HEAD_PY = """from heads.base import Classify, Gate, Head, Tail

HEAD = Head(
    name="mood",
    team="mood",
    backbone="tiny",
    tail=Tail(blocks="all"),
    task=Classify(labels=("good", "bad")),
    gate=Gate(bounds={"accuracy": 0.4}),
)
"""


@pytest.fixture
def mood(tmp_path: Path) -> TeamFolder:
    team = TeamFolder(tmp_path / "more_heads" / "mood")
    team.write_recipe("epochs = 6\nlearning_rate = 0.01\n")  # twelve steps
    (team.path / "head.py").write_text(HEAD_PY)
    (team.path / "__init__.py").touch()
    return team


def train(team: TeamFolder, zoo: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = (*TORCHRUN, "-m", "tests.support.shared_build", team.path.parent, "head", "train", "mood", "--zoo", zoo)
    variables: Mapping[str, str] = {**_environment(), **environment}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, env=variables)


def _environment() -> dict[str, str]:
    import os

    return {**os.environ, "OMP_NUM_THREADS": "1"}


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What the processes said themselves; torchrun adds a table."""
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


def test_a_build_that_lost_a_process_publishes_nothing_and_goes_on_from_its_checkpoint(
    mood: TeamFolder, zoo_folder: Path
) -> None:
    killed = train(mood, zoo_folder, KILL="1:8")
    assert killed.returncode == 1
    (line,) = said(killed)
    assert "One of the 2 processes of this build ended without a word" in line
    (run,) = (zoo_folder / "runs" / "mood").iterdir()
    assert [file.name[:9] for file in (run / "checkpoint").iterdir()] == ["000000005"]
    with Zoo.open(zoo_folder) as zoo:
        assert zoo.heads() == []
        assert zoo.verify() == []

    done = train(mood, zoo_folder)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("mood@1") == 2, "one table and one note, from one process"
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    steps = [each["step"] for each in history if "step" in each]
    assert steps == sorted(set(steps)), "nothing was told twice"
    assert list((run / "checkpoint").iterdir()) == []
    with Zoo.open(zoo_folder) as zoo:
        assert [version.number for version in zoo.versions("mood")] == [1]
        assert len(zoo.readings("mood")) == 1
        assert zoo.verify() == []


def test_what_fails_in_one_process_is_said_once_by_the_first(mood: TeamFolder, zoo_folder: Path) -> None:
    failed = train(mood, zoo_folder, BREAK="1")
    assert failed.returncode == 1
    assert said(failed) == ["error: Process 2 of 2 failed: the second process is broken"]
    mood.write_labels([{**line, "label": "ugly"} for line in mood_lines()])
    refused = train(mood, zoo_folder)
    assert refused.returncode == 1
    (line,) = said(refused)
    assert "has the label 'ugly'" in line
    with Zoo.open(zoo_folder) as zoo:
        assert zoo.heads() == []
