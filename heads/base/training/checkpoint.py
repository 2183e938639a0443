"""Checkpoints: where a run that was killed goes on."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["Checkpoints"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where and how often the state of a run is written.

    Attributes:
        folder: made if it is not there; holds nothing else.
        every_steps: steps of the optimiser between two checkpoints.
        key: the build key. What was written under another key is not resumed; the run begins anew.
    """

    folder: Path
    every_steps: int
    key: str = ""
