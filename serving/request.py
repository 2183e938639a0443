"""A call that waits for its answers, and the rows that the engine queues for it."""

import asyncio
from dataclasses import dataclass, field

from serving.batching import Priority
from serving.errors import ServingError
from serving.execution import Answers
from serving.plan import Route
from zoo.preprocessing import Row

__all__ = ["Item", "Request", "Trace"]


@dataclass(slots=True)
class Trace:
    """When what happened to one call, by the engine's clock in seconds; whoever wants to know hands one in."""

    queued_s: float = 0.0
    """When its rows were queued."""
    began_s: float = 0.0
    """When the first batch with one of its rows began; 0 if none did, since every answer was cached."""
    ended_s: float = 0.0
    """When the last of its batches ended."""
    stages: list[tuple[str, float, float]] = field(default_factory=list)
    """Name, beginning and end of each stage that ran for it, in the order in which they ran."""
    batch_rows: int = 0
    """Rows of the largest batch that one of its rows was in."""
    cached: int = 0
    """How many (row, node) outputs came out of the cache."""


class Request:
    """One call: its future, and the answers so far. Used on the event loop alone.

    Args:
        future: gets the answers of every row, in order.
        rows: how many rows it brought.
        parts: how many trees of the plan answer each of them.
    """

    __slots__ = ("_answers", "_missing", "future")

    def __init__(self, future: "asyncio.Future[list[Answers]]", rows: int, parts: int) -> None:
        self.future = future
        self._missing = rows * parts
        self._answers: list[Answers] = [{} for _ in range(rows)]

    def answer(self, index: int, answers: Answers) -> None:
        """Add what one tree answers for row ``index``; the last one completes the request."""
        self._answers[index].update(answers)
        self._missing -= 1
        if not self._missing and not self.future.done():
            self.future.set_result(self._answers)

    def fail(self, error: ServingError) -> None:
        """Fail the whole request, unless it is over already."""
        if not self.future.done():
            self.future.set_exception(error)


class Item:
    """A row that waits or runs: a ``WaitingRow`` of the policy and a ``Work`` of the execution.

    Hashed by identity and without validation: one is made for every row of every request.
    """

    __slots__ = ("arrived_s", "deadline_s", "index", "length", "paths", "priority", "request", "route", "row", "team")

    def __init__(
        self,
        *,
        request: Request,
        index: int,
        row: Row,
        route: Route,
        arrived_s: float,
        deadline_s: float,
        priority: Priority,
    ) -> None:
        self.request = request
        self.index = index
        self.row = row
        self.route = route
        self.length = row.length
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.priority = priority
        self.team = route.versions[0].manifest.team
        self.paths = route.paths
