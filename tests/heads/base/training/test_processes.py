"""Processes that train together, as torchrun starts them: the same weights in each, and those of one process."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from heads.base.errors import TrainingFailed
from heads.base.training.processes import check_data_parallel
from tests.support.build_files import ROOT
from tests.support.shared_training import CASES, train

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    command = (*TORCHRUN, "-m", "tests.support.shared_training", str(folder))
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return folder


def header(file: Path, key: str) -> object:
    with safe_open(file, framework="pt") as opened:
        return json.loads(opened.metadata()[key])


@pytest.mark.parametrize("case", CASES)
def test_processes_end_with_the_same_weights(shared: Path, case: str) -> None:
    first, second = (load_file(shared / f"{case}-{rank}.safetensors") for rank in range(2))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert header(shared / f"{case}-0.safetensors", "valid") == header(shared / f"{case}-1.safetensors", "valid")


@pytest.mark.parametrize("case", ["head", "parts"])
def test_two_processes_learn_what_one_learns(shared: Path, tmp_path: Path, case: str) -> None:
    alone = tmp_path / "alone.safetensors"
    train(case, alone)
    together = load_file(shared / f"{case}-0.safetensors")
    for name, tensor in load_file(alone).items():
        torch.testing.assert_close(together[name], tensor, rtol=1e-3, atol=1e-5)
    assert header(shared / f"{case}-0.safetensors", "valid") == header(alone, "valid")


def test_sharding_is_refused() -> None:
    check_data_parallel("MULTI_GPU")
    with pytest.raises(TrainingFailed, match=r"set up for FSDP; .* without --use_fsdp"):
        check_data_parallel("FSDP")


def test_only_the_first_process_tells_and_writes(shared: Path) -> None:
    assert header(shared / "tail-0.safetensors", "told") == [1, 2, 3, 4, 5]
    assert header(shared / "tail-1.safetensors", "told") == []
    assert list((shared / "tail").iterdir()) == []  # what it was for is done
