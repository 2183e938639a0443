"""The history of a run, read: one JSON line an epoch and one every few steps, up to the moment it was killed.

``heads.base.runs.observers`` writes it. Importing this imports no torch.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["History", "cut_torn_line", "read_history"]


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


def cut_torn_line(path: Path) -> None:
    """Cut a last line off that its process did not live to end; what is appended then begins a line of its own."""
    with path.open("r+b") as file:
        text = file.read()
        file.truncate(text.rfind(b"\n") + 1)
