"""Checkpoints: a run that was killed ends with the bits of one that was not; damage and full disks are survived."""

import errno
import json
import logging
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from heads.base.errors import CheckpointFailed
from heads.base.recipe import Recipe
from heads.base.training import Checkpoints, Observer, StepRecord, train_head
from heads.base.training import checkpoint as here
from heads.base.training.checkpoint import read_checkpoint, write_checkpoint
from heads.base.training.state import State
from tests.support.build_files import ROOT
from tests.support.training_data import SmallTail, bits_of, mood_split

COURSES: list[tuple[dict[str, Any], int]] = [
    ({"ema": 0.9, "probe_epochs": 2, "unfreeze_every": 2, "epochs": 9}, 1),
    ({"swa": 0.4, "accumulate": 2, "epochs": 11, "layer_decay": 0.5, "precision": "bf16"}, 4),
]


@pytest.mark.parametrize(("keys", "every_steps"), COURSES, ids=["ema", "swa"])
def test_a_run_killed_at_random_steps_ends_bit_equal(tmp_path: Path, keys: dict[str, Any], every_steps: int) -> None:
    recipe = json.dumps({"batch_size": 8, "dropout": 0.3, "learning_rate": 0.01, **keys})
    seed = int.from_bytes(os.urandom(2), "big")
    command = (sys.executable, "-m", "tests.support.killed_training", tmp_path, recipe, str(every_steps), str(seed))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    firsts = json.loads(done.stdout)
    assert max(firsts) > 10, "it went on where it was, and did not begin anew each time"
    assert contents(tmp_path / "killed.safetensors") == contents(tmp_path / "plain.safetensors"), f"seed {seed}"
    assert list((tmp_path / "checkpoint").iterdir()) == []


def contents(file: Path) -> dict[str, object]:
    with safe_open(file, framework="pt") as opened:
        tensors = {name: opened.get_tensor(name).numpy().tobytes() for name in opened.keys()}  # noqa: SIM118
        return {**opened.metadata(), **tensors}


class StoppedAt(Observer):
    def __init__(self, step: int) -> None:
        self.step = step
        self.first = 0

    def on_step(self, record: StepRecord) -> None:
        self.first = self.first or record.step
        if record.step == self.step:
            raise KeyboardInterrupt


RECIPE = Recipe(epochs=4, batch_size=8, ema=0.9)


def train(checkpoints: Checkpoints | None, stop_at: int = 0, recipe: Recipe = RECIPE) -> tuple[dict[str, bytes], int]:
    """Train, and return the weights' bits and the first step."""
    observer = StoppedAt(stop_at)
    network, _, _ = train_head(
        lambda: SmallTail(recipe), mood_split, recipe, observers=(observer,), checkpoints=checkpoints
    )
    return bits_of(network), observer.first


def stopped(folder: Path) -> Checkpoints:
    checkpoints = Checkpoints(folder=folder, every_steps=3, key="k")
    with pytest.raises(KeyboardInterrupt):
        train(checkpoints, stop_at=11)
    return checkpoints


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    checkpoints = stopped(tmp_path)
    assert [file.name[:9] for file in sorted(tmp_path.iterdir())] == ["000000006", "000000009"]
    assert train(checkpoints) == (train(None)[0], 10)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_is_noticed_and_the_one_before_it_serves(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    checkpoints = stopped(tmp_path)
    newest = max(tmp_path.iterdir())
    data = bytearray(newest.read_bytes())
    data[-5] ^= 1
    newest.write_bytes(bytes({"cut": data[: len(data) // 2], "flipped": data, "empty": b""}[damage]))
    with caplog.at_level(logging.WARNING):
        assert train(checkpoints) == (train(None)[0], 7)
    assert f"{newest} is damaged" in caplog.text


@pytest.mark.parametrize("other", ["key", "recipe"])
def test_what_another_build_left_is_not_gone_on_from(tmp_path: Path, other: str) -> None:
    checkpoints = stopped(tmp_path)
    recipe = RECIPE.model_copy(update={"seed": 1}) if other == "recipe" else RECIPE
    key = "other" if other == "key" else "k"
    found = train(Checkpoints(folder=tmp_path, every_steps=100, key=key), recipe=recipe)
    assert found == (train(None, recipe=recipe)[0], 1)
    assert list(checkpoints.folder.iterdir()) == []


def test_a_full_disk_is_a_clear_error_and_leaves_nothing_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoints = stopped(tmp_path)
    before = sorted(tmp_path.iterdir())

    def full(path: Path, data: bytes) -> None:
        path.write_bytes(data[:100])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(here, "_write_to_disk", full)
    with pytest.raises(
        CheckpointFailed,
        match=r"checkpoint of step 12 .*: No space left .* takes \d.* MB. Free .*: the same build goes on",
    ):
        train(checkpoints)
    assert sorted(tmp_path.iterdir()) == before
    monkeypatch.undo()
    assert train(checkpoints) == (train(None)[0], 10)


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(folder=tmp_path / "file" / "checkpoint", every_steps=1)
    with pytest.raises(CheckpointFailed, match=r"checkpoint of step 1 cannot be written .*: Not a directory"):
        write_checkpoint(checkpoints, State(), step=1, identity={})


def test_a_checkpoint_gives_back_what_it_was_given(tmp_path: Path) -> None:
    checkpoints = Checkpoints(folder=tmp_path, every_steps=1)
    shared = torch.arange(6.0)
    tensors = {
        "a/x": shared[:3],
        "a/y": shared.view(2, 3).t(),
        "a/n": torch.tensor(3),
        "b/e": torch.zeros(0, dtype=torch.int64),
    }
    state = State(tensors=tensors, values={"a": {"low": -float("inf"), "third": 1 / 3}, "b": {}})
    write_checkpoint(checkpoints, state, step=7, identity={"key": "k"})
    (tmp_path / "000000008-x.5.new").touch()  # a process was killed while it wrote
    found = read_checkpoint(checkpoints, identity={"key": "k"})
    assert found is not None
    assert found.values == state.values
    assert found.part("a").tensors.keys() == {"x", "y", "n"}
    assert all(torch.equal(found.tensors[name], tensor) for name, tensor in tensors.items())
    assert len(list(tmp_path.iterdir())) == 1
