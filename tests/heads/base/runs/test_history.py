"""The history: every epoch and every tenth step, readable whenever its process ends."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base.runs.history import read_history
from heads.base.runs.observers import HistoryObserver
from heads.base.training.observing import EpochRecord, StepRecord


def step(number: int, epoch: int = 1, **changes: Any) -> StepRecord:
    values: dict[str, Any] = {
        "step": number,
        "epoch": epoch,
        "loss": 0.5,
        "learning_rates": {"head": 1e-3},
        "grad_norms": {"head": 2.0},
        "rows": 32,
        "seconds": 0.1,
    }
    return StepRecord(**values | changes)


def epoch(number: int, **changes: Any) -> EpochRecord:
    values: dict[str, Any] = {
        "epoch": number,
        "epochs": 10,
        "train_loss": 0.5,
        "valid_loss": 0.6,
        "metrics": {"accuracy": 0.7},
        "watched": 0.7,
        "is_best": True,
        "rows_per_s": 100.0,
        "seconds": 1.0,
    }
    return EpochRecord(**values | changes)


def write(path: Path, records: Sequence[StepRecord | EpochRecord]) -> None:
    observer = HistoryObserver(path)
    observer.begins(None, 10)  # type: ignore[arg-type] # the history looks at no network
    for record in records:
        observer.on_step(record) if isinstance(record, StepRecord) else observer.on_epoch(record)
    observer.ends()


def test_every_epoch_and_every_tenth_step_is_a_line(tmp_path: Path) -> None:
    write(tmp_path / "history.jsonl", [*(step(number) for number in range(1, 25)), epoch(1), epoch(2, is_best=False)])
    history = read_history(tmp_path / "history.jsonl")
    assert [record["step"] for record in history.steps] == [1, 11, 21]
    assert [record["epoch"] for record in history.epochs] == [1, 2]
    assert history.steps[0]["grad_norms"] == {"head": 2.0}
    best = history.best()
    assert best is not None
    assert (best["epoch"], best["metrics"]) == (1, {"accuracy": 0.7})


def test_a_line_is_on_disk_as_soon_as_its_epoch_has_ended(tmp_path: Path) -> None:
    observer = HistoryObserver(tmp_path / "history.jsonl")
    observer.begins(None, 10)  # type: ignore[arg-type]
    observer.on_epoch(epoch(1))
    assert len(read_history(tmp_path / "history.jsonl").epochs) == 1
    observer.ends()


def test_a_number_that_is_not_finite_is_null(tmp_path: Path) -> None:
    write(tmp_path / "history.jsonl", [step(1, loss=float("nan"), grad_norms={"head": float("inf")})])
    (record,) = read_history(tmp_path / "history.jsonl").steps
    assert (record["loss"], record["grad_norms"]) == (None, {"head": None})


def test_a_history_that_is_not_there_is_empty(tmp_path: Path) -> None:
    history = read_history(tmp_path / "history.jsonl")
    assert (history.epochs, history.steps, history.best()) == ((), (), None)


@given(lost=st.integers(min_value=0, max_value=400))
def test_whatever_is_cut_off_the_end_only_loses_records_from_the_end(
    lost: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.jsonl"
    write(path, [step(1), epoch(1), step(2, epoch=2), epoch(2)])
    path.write_bytes(path.read_bytes()[: max(0, path.stat().st_size - lost)])
    before = read_history(path)
    assert [record["epoch"] for record in before.epochs] == [1, 2][: len(before.epochs)]
    write(path, [epoch(3)])
    assert [record["epoch"] for record in read_history(path).epochs] == [*(r["epoch"] for r in before.epochs), 3]


def test_a_run_that_goes_on_from_a_checkpoint_counts_its_later_records(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    write(path, [step(1), epoch(1), step(11, epoch=2), epoch(2), step(21, epoch=3)])
    write(path, [step(11, epoch=2, loss=0.25), epoch(2, valid_loss=0.125), epoch(3)])
    history = read_history(path)
    assert [(record["step"], record["loss"]) for record in history.steps] == [(1, 0.5), (11, 0.25)]
    assert [(record["epoch"], record["valid_loss"]) for record in history.epochs] == [(1, 0.6), (2, 0.125), (3, 0.6)]


def test_a_run_that_begins_anew_forgets_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    write(path, [step(1), epoch(1), epoch(2)])
    write(path, [step(1), epoch(1, train_loss=0.1)])
    assert [record["train_loss"] for record in read_history(path).epochs] == [0.1]
