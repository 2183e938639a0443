"""What the policy knows of a row, and of what it costs."""

from collections.abc import Iterable
from typing import Protocol

from serving.batching.priority import Priority

__all__ = ["Costs", "WaitingRow"]


class WaitingRow(Protocol):
    """What the policy knows of a row. Rows are told apart by identity: they hash and compare as objects."""

    @property
    def length(self) -> int:
        """Its tokens; 1 for an input that has none."""

    @property
    def nbytes(self) -> int:
        """Memory that it holds while it waits."""

    @property
    def arrived_s(self) -> float:
        """When it was queued, in seconds of the engine's clock."""

    @property
    def deadline_s(self) -> float:
        """From when on its answer is of no use, in seconds of the engine's clock; infinity if always."""

    @property
    def team(self) -> str:
        """Whose share it counts against."""

    @property
    def priority(self) -> Priority:
        """Its place among the rows of its team."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Path digests of the nodes that it visits: what it will cost."""


class Costs(Protocol):
    """Predicts how long nodes run; ``CostModel`` does, from what it has seen."""

    def predict_s(self, path: str, rows: int, width: int) -> float:
        """Return the seconds that the node ``path`` takes for ``rows`` rows padded to ``width`` tokens."""

    def path_s(self, paths: Iterable[str], rows: int, width: int) -> float:
        """Return the seconds that all of ``paths`` take together."""
