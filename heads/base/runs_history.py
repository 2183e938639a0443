"""The history of a run: one JSON line an epoch and one every few steps, whole up to the moment it was killed."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:  # it brings torch, and whoever reads a history needs none
    from heads.base.network import Network
    from heads.base.training.observing import EpochRecord, StepRecord

__all__ = ["History", "HistoryObserver", "read_history"]

_STEPS_A_LINE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """What a run wrote down, in order; each record as the observer was told it.

    Attributes:
        epochs: of each epoch its losses, metrics, watched score and pace.
        steps: of every tenth step its loss, learning rates and gradient norms.
    """

    epochs: tuple[dict[str, Any], ...]
    steps: tuple[dict[str, Any], ...]

    def best(self) -> dict[str, Any] | None:
        """Return the last epoch that was the best so far, if there is an epoch."""
        return next((epoch for epoch in reversed(self.epochs) if epoch["is_best"]), None)


class HistoryObserver:
    """Writes the history of a run, each line flushed as it is written.

    Args:
        path: the file. What it has is kept: a run that goes on where it was killed goes on here too.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[str] | None = None
        self._until_next = 0

    def begins(self, network: "Network", epochs: int) -> None:  # noqa: ARG002 - as every observer
        """Open the file behind its last whole line."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.touch()
        _cut_torn_line(self._path)
        self._file = self._path.open("a", encoding="utf-8")
        self._until_next = 0

    def on_step(self, record: "StepRecord") -> None:
        """Write the first step and every tenth."""
        if self._until_next == 0:
            self._write("step", record)
            self._until_next = _STEPS_A_LINE
        self._until_next -= 1

    def on_epoch(self, record: "EpochRecord") -> None:
        """Write the epoch."""
        self._write("epoch", record)

    def ends(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, kind: str, record: "StepRecord | EpochRecord") -> None:
        assert self._file is not None, "a record before begins"
        values = {name: getattr(record, name) for name in record.__dataclass_fields__}
        self._file.write(json.dumps({"kind": kind, **_as_json(values)}, allow_nan=False) + "\n")
        self._file.flush()


def read_history(path: Path) -> History:
    """Return what a run wrote down so far.

    A last line that was cut off by the end of its process is left out. A run that went on from a checkpoint trained
    some steps twice; of these, and of a run that began anew, the later record counts.

    Args:
        path: a history file; one that is not there is an empty history.
    """
    epochs: list[dict[str, Any]] = []
    steps: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if not line.endswith(b"\n"):
            break
        record = json.loads(line)
        kind = record.pop("kind")
        while epochs and epochs[-1]["epoch"] >= record["epoch"]:
            epochs.pop()
        if kind == "step":
            while steps and steps[-1]["step"] >= record["step"]:
                steps.pop()
        (epochs if kind == "epoch" else steps).append(record)
    return History(epochs=tuple(epochs), steps=tuple(steps))


def _cut_torn_line(path: Path) -> None:
    with path.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)


def _as_json(value: Any) -> Any:
    """Return plain JSON of a record; a number that is not finite has no JSON, and becomes null."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return {key: _as_json(each) for key, each in value.items()} if hasattr(value, "items") else value
