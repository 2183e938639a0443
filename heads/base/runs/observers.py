"""What watches a training and tells others: its history, a progress bar, TensorBoard, and MLflow where asked for."""

import importlib
import json
import math
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from heads.base.errors import LibraryMissing
from heads.base.network import Network
from heads.base.runs.history import cut_torn_line
from heads.base.training.observing import EpochRecord, Observer, StepRecord

if TYPE_CHECKING:  # imported when a training begins: it takes half a second
    from torch.utils.tensorboard import SummaryWriter

__all__ = ["HistoryObserver", "MLflowObserver", "ProgressObserver", "TensorBoardObserver"]

_STEPS_A_RECORD = 10
_SHOWN_EVERY_S = 0.1
_MLFLOW_RETRIES = "1"

Tell = Callable[[int, int, str], None]
"""Told how much is done, of how much, and a line about it."""


class HistoryObserver(Observer):
    """Writes the history of a run, each line flushed as it is written.

    Args:
        path: the file. What it has is kept: a run that goes on where it was killed goes on here too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._until_next = 0

    def begins(self, network: Network, epochs: int) -> None:  # noqa: ARG002 - as every observer
        """Open the file behind its last whole line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        cut_torn_line(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._until_next = 0

    def on_step(self, record: StepRecord) -> None:
        """Write the first step and every tenth."""
        if self._until_next == 0:
            self._write("step", record)
            self._until_next = _STEPS_A_RECORD
        self._until_next -= 1

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the epoch."""
        self._write("epoch", record)

    def ends(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, kind: str, record: StepRecord | EpochRecord) -> None:
        assert self._file is not None, "a record before begins"
        values = {name: getattr(record, name) for name in record.__dataclass_fields__}
        self._file.write(json.dumps({"kind": kind, **_as_json(values)}, allow_nan=False) + "\n")
        self._file.flush()


class ProgressObserver(Observer):
    """Tells a progress bar the loss, the watched metric, the pace and the time left.

    Args:
        tell: what shows it; told in thousandths of the training.
        clock: monotonic seconds.
    """

    def __init__(self, tell: Tell, clock: Callable[[], float] = time.monotonic) -> None:
        self._tell = tell
        self._clock = clock
        self._metric = ""
        self._epochs = 0
        self._steps_an_epoch = 0
        self._steps = 0
        self._first_epoch = 0
        self._began_s = 0.0
        self._shown_s = 0.0
        self._score = ""

    def begins(self, network: Network, epochs: int) -> None:
        """Take the time and the name of the metric."""
        self._metric = network.task.metrics[0]
        self._epochs = epochs
        self._began_s = self._clock()
        self._steps = self._steps_an_epoch = self._first_epoch = 0
        self._score = ""

    def on_step(self, record: StepRecord) -> None:
        """Show how far the epoch is, at most ten times a second."""
        self._first_epoch = self._first_epoch or record.epoch
        self._steps += 1
        if self._clock() - self._shown_s >= _SHOWN_EVERY_S:
            share = min(1.0, self._steps / self._steps_an_epoch) if self._steps_an_epoch else 0.0
            self._show(record.epoch - 1 + share, record.loss, record.rows / max(record.seconds, 1e-9))

    def on_epoch(self, record: EpochRecord) -> None:
        """Show what the epoch reached."""
        self._first_epoch = self._first_epoch or record.epoch
        self._steps_an_epoch, self._steps = self._steps, 0
        self._score = f" · {self._metric} {record.metrics.get(self._metric, record.watched):.3f}"
        self._show(float(record.epoch), record.train_loss, record.rows_per_s)

    def _show(self, epochs_done: float, loss: float, rows_per_s: float) -> None:
        self._shown_s = self._clock()
        done_here = epochs_done - (self._first_epoch - 1)
        left = ""
        if done_here > 0:
            left_s = (self._shown_s - self._began_s) * (self._epochs - epochs_done) / done_here
            left = f" · {_duration(left_s)} left"
        line = f"loss {loss:.3f}{self._score} · {rows_per_s:,.0f} rows/s{left}"
        self._tell(round(1000 * epochs_done), 1000 * self._epochs, line)


class TensorBoardObserver(Observer):
    """Writes losses, metrics, learning rates and gradient norms where TensorBoard reads them.

    A run that goes on, or begins anew, hides what it repeats. Epochs and steps are counted apart, and what is hidden is
    all from one number on: so each of them has a folder of its own.

    Args:
        folder: the log directory of epochs; that of steps is ``steps`` below it.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writers: dict[Path, SummaryWriter] = {}
        self._until_next = 0

    def begins(self, network: Network, epochs: int) -> None:  # noqa: ARG002 - as every observer
        """Write the next step, whichever it is."""
        self._until_next = 0

    def on_step(self, record: StepRecord) -> None:
        """Write the first step and every tenth."""
        writer = self._opened(self._folder / "steps", record.step)
        if self._until_next == 0:
            writer.add_scalar("step/loss", record.loss, record.step)
            _write_all(writer, "learning rate", record.learning_rates, record.step)
            _write_all(writer, "gradient norm", record.grad_norms, record.step)
            self._until_next = _STEPS_A_RECORD
        self._until_next -= 1

    def on_epoch(self, record: EpochRecord) -> None:
        """Write the epoch, and flush."""
        writer = self._opened(self._folder, record.epoch)
        writer.add_scalar("epoch/train loss", record.train_loss, record.epoch)
        writer.add_scalar("epoch/valid loss", record.valid_loss, record.epoch)
        writer.add_scalar("epoch/rows per second", record.rows_per_s, record.epoch)
        _write_all(writer, "valid", record.metrics, record.epoch)
        for each in self._writers.values():
            each.flush()

    def ends(self) -> None:
        """Close the files."""
        for writer in self._writers.values():
            writer.close()
        self._writers = {}

    def _opened(self, folder: Path, number: int) -> "SummaryWriter":
        """Return what writes to a folder; what stands there of this number and later ones is hidden."""
        if folder not in self._writers:
            from torch.utils.tensorboard import SummaryWriter

            self._writers[folder] = SummaryWriter(str(folder), purge_step=number)
        return self._writers[folder]


class MLflowObserver(Observer):
    """Logs a run to an MLflow server: its recipe as parameters, its epochs as metrics.

    Args:
        uri: the tracking server. It is told epochs; a call for each step would cost more than the step.
        head: the head; the experiment is named after it.
        name: what the run is called.
        parameters: the recipe.
        on_trouble: told, once, that the server no longer takes what is logged. The training goes on without it.

    Raises:
        LibraryMissing: mlflow is not installed.
    """

    def __init__(
        self, *, uri: str, head: str, name: str, parameters: Mapping[str, Any], on_trouble: Callable[[str], None]
    ) -> None:
        self._uri, self._head, self._name = uri, head, name
        self._parameters = parameters
        self._on_trouble = on_trouble
        # A server that is gone holds a training up for seconds, and not for the minutes of mlflow's own seven retries.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", _MLFLOW_RETRIES)
        self._client = _mlflow(uri).MlflowClient(tracking_uri=uri)
        self._run = ""

    def begins(self, network: Network, epochs: int) -> None:  # noqa: ARG002 - as every observer
        """Start a run on the server."""

        def start() -> None:
            experiment = self._client.get_experiment_by_name(f"hydrazoo/{self._head}")
            number = (
                experiment.experiment_id if experiment else self._client.create_experiment(f"hydrazoo/{self._head}")
            )
            self._run = self._client.create_run(number, run_name=self._name).info.run_id
            for key, value in self._parameters.items():
                self._client.log_param(self._run, key, value)

        self._run = ""
        self._attempt(start)

    def on_epoch(self, record: EpochRecord) -> None:
        """Log losses and metrics of the epoch."""
        values = {"train_loss": record.train_loss, "valid_loss": record.valid_loss, **record.metrics}

        def log() -> None:
            for key, value in values.items():
                self._client.log_metric(self._run, key.replace("/", "."), float(value), step=record.epoch)

        if self._run:
            self._attempt(log)

    def ends(self) -> None:
        """Say that the run is finished."""
        if self._run:
            self._attempt(lambda: self._client.set_terminated(self._run))

    def _attempt(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # whatever a client of a server raises; the training is worth more than its log
            self._run = ""
            self._on_trouble(f"not logged to MLflow at {self._uri}: {type(error).__name__}: {error}")


def _as_json(value: Any) -> Any:
    """Return plain JSON of a record; a number that is not finite has no JSON, and becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return {key: _as_json(each) for key, each in value.items()} if hasattr(value, "items") else value


def _write_all(writer: "SummaryWriter", group: str, values: Mapping[str, float], step: int) -> None:
    for name, value in values.items():
        writer.add_scalar(f"{group}/{name}", value, step)


def _mlflow(uri: str) -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError:
        raise LibraryMissing(
            f"Runs are to be logged to MLflow at {uri!r}, and mlflow is not installed. Install it with "
            "`pip install mlflow`, or unset MLFLOW_TRACKING_URI and the setting mlflow_uri."
        ) from None


def _duration(seconds: float) -> str:
    """Return a time as a person reads it.

    >>> _duration(61.7), _duration(7300)
    ('1:02', '2:01:40')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
