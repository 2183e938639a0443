"""What is told about a training: to a progress bar, to TensorBoard's own reader, and to MLflow's client."""

import os
import sys
import types
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]

from heads.base.errors import LibraryMissing
from heads.base.network import Network
from heads.base.runs.observers import MLflowObserver, ProgressObserver, TensorBoardObserver
from heads.base.training.observing import EpochRecord, Observer, StepRecord
from tests.support.head_packages import MOOD


class Untrained(Network):
    task = MOOD


def step(number: int, epoch: int) -> StepRecord:
    return StepRecord(
        step=number,
        epoch=epoch,
        loss=1 / number,
        learning_rates={"head": 1e-3},
        grad_norms={"head": 2.0},
        rows=32,
        seconds=0.5,
    )


def epoch(number: int) -> EpochRecord:
    return EpochRecord(
        epoch=number,
        epochs=4,
        train_loss=0.5,
        valid_loss=0.6,
        metrics={"macro_f1": 0.7, "f1.good": 0.8},
        watched=0.7,
        is_best=True,
        rows_per_s=1234.0,
        seconds=1.0,
    )


def tell(observer: Observer, first: int, last: int) -> None:
    """Tell epochs of two steps each."""
    observer.begins(Untrained(), 4)
    for number in range(first, last + 1):
        observer.on_step(step(2 * number - 1, number))
        observer.on_step(step(2 * number, number))
        observer.on_epoch(epoch(number))
    observer.ends()


def test_progress_shows_loss_metric_pace_and_the_time_left() -> None:
    shown: list[tuple[int, int, str]] = []
    tell(ProgressObserver(lambda *told: shown.append(told), clock=map(float, count()).__next__), 1, 3)
    assert shown[0] == (0, 4000, "loss 1.000 · 64 rows/s"), "before the first epoch nobody knows how long it takes"
    assert [done for done, _, _ in shown] == sorted(done for done, _, _ in shown)
    done, total, line = shown[-1]
    assert (done, total) == (3000, 4000)
    assert line.startswith("loss 0.500 · macro_f1 0.700 · 1,234 rows/s · 0:")
    assert line.endswith(" left")


def test_progress_of_a_run_that_goes_on_counts_the_time_of_its_own_epochs() -> None:
    shown: list[tuple[int, int, str]] = []
    clock = iter([0.0, *(10.0 for _ in range(9))])
    tell(ProgressObserver(lambda *told: shown.append(told), clock=lambda: next(clock)), 3, 3)
    assert shown[-1][2].endswith("· 0:10 left"), "one epoch of ten seconds is done and one is left"


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar of a log directory, whichever of the folders below it has it."""
    found = {}
    for logs in {file.parent for file in folder.rglob("events.*")}:
        read = EventAccumulator(str(logs))
        read.Reload()
        for tag in read.Tags()["scalars"]:
            found[tag] = [(event.step, event.value) for event in read.Scalars(tag)]
    return found


def test_tensorboard_reads_what_was_told(tmp_path: Path) -> None:
    tell(TensorBoardObserver(tmp_path), 1, 3)
    found = scalars(tmp_path)
    assert [number for number, _ in found["valid/macro_f1"]] == [1, 2, 3]
    assert found["step/loss"] == [(1, 1.0)]
    assert {"epoch/train loss", "epoch/valid loss", "learning rate/head", "gradient norm/head"} <= set(found)


def test_tensorboard_hides_the_steps_of_a_run_that_began_anew(tmp_path: Path) -> None:
    tell(TensorBoardObserver(tmp_path), 1, 3)
    tell(TensorBoardObserver(tmp_path), 1, 2)
    assert [number for number, _ in scalars(tmp_path)["valid/macro_f1"]] == [1, 2]


def test_tensorboard_hides_what_a_run_repeats_that_goes_on_in_an_earlier_epoch(tmp_path: Path) -> None:
    tell(TensorBoardObserver(tmp_path), 1, 3)
    tell(TensorBoardObserver(tmp_path), 2, 4)
    found = scalars(tmp_path)
    assert [number for number, _ in found["valid/macro_f1"]] == [1, 2, 3, 4]
    assert [number for number, _ in found["step/loss"]] == [1, 3]


def test_tensorboard_hides_no_steps_of_a_run_that_goes_on_at_the_end_of_an_epoch(tmp_path: Path) -> None:
    observer = TensorBoardObserver(tmp_path)
    observer.begins(Untrained(), 4)
    for number in range(1, 41):
        observer.on_step(step(number, 1))
    observer.ends()
    again = TensorBoardObserver(tmp_path)
    again.begins(Untrained(), 4)
    again.on_epoch(epoch(1))
    again.on_step(step(41, 2))
    again.ends()
    assert [number for number, _ in scalars(tmp_path)["step/loss"]] == [1, 11, 21, 31, 41]


class FakeMLflow(types.ModuleType):
    """The few calls of mlflow's client that we make, written down."""

    def __init__(self) -> None:
        super().__init__("mlflow")
        self.calls: list[tuple[Any, ...]] = []
        self.broken = False
        self.retries: str | None = None

    def MlflowClient(self, *, tracking_uri: str) -> "FakeMLflow":  # noqa: N802 - mlflow's name
        self.calls.append(("client", tracking_uri))
        self.retries = os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
        return self

    def get_experiment_by_name(self, name: str) -> None:
        self.calls.append(("get_experiment_by_name", name))

    def create_experiment(self, name: str) -> str:
        self.calls.append(("create_experiment", name))
        return "7"

    def create_run(self, experiment: str, *, run_name: str) -> Any:
        self.calls.append(("create_run", experiment, run_name))
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

    def log_param(self, run: str, key: str, value: Any) -> None:
        self.calls.append(("log_param", run, key, value))

    def log_metric(self, run: str, key: str, value: float, *, step: int) -> None:
        if self.broken:
            raise ConnectionError("refused")
        self.calls.append(("log_metric", run, key, value, step))

    def set_terminated(self, run: str) -> None:
        self.calls.append(("set_terminated", run))


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> FakeMLflow:
    fake = FakeMLflow()
    monkeypatch.setitem(sys.modules, "mlflow", fake)
    return fake


def observer(troubles: list[str]) -> MLflowObserver:
    return MLflowObserver(
        uri="http://logs", head="mood", name="0123", parameters={"epochs": 4}, on_trouble=troubles.append
    )


def test_mlflow_gets_the_recipe_and_each_epoch(mlflow: FakeMLflow) -> None:
    tell(observer([]), 1, 2)
    assert mlflow.calls[:4] == [
        ("client", "http://logs"),
        ("get_experiment_by_name", "hydrazoo/mood"),
        ("create_experiment", "hydrazoo/mood"),
        ("create_run", "7", "0123"),
    ]
    assert ("log_param", "r1", "epochs", 4) in mlflow.calls
    assert ("log_metric", "r1", "macro_f1", 0.7, 2) in mlflow.calls
    assert mlflow.calls[-1] == ("set_terminated", "r1")


def test_an_mlflow_server_that_goes_away_costs_the_log_and_not_the_training(mlflow: FakeMLflow) -> None:
    troubles: list[str] = []
    mlflow.broken = True
    tell(observer(troubles), 1, 3)
    assert troubles == ["not logged to MLflow at http://logs: ConnectionError: refused"]


@pytest.mark.parametrize(("set_to", "expected"), [(None, "1"), ("9", "9")])
def test_mlflow_gives_up_soon_unless_somebody_said_otherwise(
    set_to: str | None, expected: str, mlflow: FakeMLflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", set_to or "")
    if set_to is None:
        monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES")
    observer([])
    assert mlflow.retries == expected


def test_mlflow_that_is_asked_for_and_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(LibraryMissing, match=r"pip install mlflow.*unset MLFLOW_TRACKING_URI"):
        observer([])
