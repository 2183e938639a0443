"""What goes into a batch: rows, what is wanted for each of them, and where in the plan they start."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from numpy.typing import NDArray

from serving.plan import Root, Route
from serving.runtimes.base import Arrays
from zoo.preprocessing import Row

__all__ = ["Answers", "Features", "Found", "Start", "Work"]

Answers = dict[str, Arrays]
"""By version digest: the tensors that it answers one row with."""

Features = Mapping[str, NDArray[Any]]
"""What a node gave for one row: tensors by name, without the N axis, T cut to the row's length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where a row enters a tree. Rows that start at the same place can share a batch."""

    root: Root
    path: str = ""
    """Path digest of the node whose outputs are known, so that only what is below it runs. Empty for a raw row."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What the cache has for a row, and what is left to run."""

    answers: Answers
    """Of the versions whose answers were found; not to be changed."""
    start: Start
    route: Route | None
    """What is left: the versions, and the nodes below ``start`` on the way to them. None: every answer was found."""
    features: Features = field(default_factory=dict)
    """The known outputs of the node that it starts at; empty for a raw row."""


class Work(Protocol):
    """A row and what is wanted for it."""

    @property
    def row(self) -> Row:
        """The preprocessed input."""

    @property
    def route(self) -> Route:
        """The versions that are wanted, and the nodes to visit; of the same root for every row of a batch."""

    @property
    def features(self) -> Features:
        """``Found.features``, for a batch that starts at a cached node."""

    def wanted(self) -> bool:
        """Return whether anybody still waits for it; asked from the lane's thread, between stages."""
        ...
