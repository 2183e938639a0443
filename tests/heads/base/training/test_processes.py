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


def test_processes_that_share_out_the_weights_learn_what_those_learn_that_hold_them_all(shared: Path) -> None:
    sharded, whole = (shared / f"{case}-0.safetensors" for case in ("sharded", "together"))
    found = load_file(sharded)
    for name, tensor in load_file(whole).items():
        # A bias before a batch norm is without effect: its gradient is rounding, and AdamW makes whole steps of that.
        if not name.endswith(("linear.bias", "running_mean")):
            torch.testing.assert_close(found[name], tensor, rtol=1e-3, atol=5e-4)
    assert header(sharded, "valid") == header(whole, "valid")
    assert header(whole, "held") == 1
    for rank in range(2):
        assert header(shared / f"sharded-{rank}.safetensors", "held") == pytest.approx(0.5, abs=0.02)


def test_a_checkpoint_of_shared_out_weights_is_whole_and_shares_them_out_again(shared: Path) -> None:
    plain, resumed = (load_file(shared / f"{case}-0.safetensors") for case in ("sharded", "resumed"))
    assert all(torch.equal(plain[name], resumed[name]) for name in plain)


def test_sharding_by_accelerate_is_refused() -> None:
    check_data_parallel("MULTI_GPU")
    with pytest.raises(TrainingFailed, match=r"set up for FSDP; .* without --use_fsdp .* sharded = true"):
        check_data_parallel("FSDP")


def test_only_the_first_process_tells_and_writes(shared: Path) -> None:
    assert header(shared / "tail-0.safetensors", "told") == [1, 2, 3, 4, 5]
    assert header(shared / "tail-1.safetensors", "told") == []
    assert list((shared / "tail").iterdir()) == []  # what it was for is done
