"""A call that waits for its answers, and its claims on the rows that the engine runs for it."""

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from serving.batching import Priority
from serving.errors import ServingError
from serving.plan import Route
from serving.work import Answers
from zoo.preprocessing import Row

if TYPE_CHECKING:
    from serving.flights import Flight

__all__ = ["Claim", "Request", "Trace"]


@dataclass(slots=True)
class Trace:
    """When what happened to one call, by the engine's clock in seconds; whoever wants to know hands one in."""

    arrived_s: float = 0.0
    """When the call came, before anything was done for it; 0 if whoever handed it in does not know."""
    submitted: bool = False
    """Whether it came as far as the engine, which counts it from there."""
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
        arrived_s: when it came, by the engine's clock.
        deadline_s: when its caller gives up, by the engine's clock; infinity if never.
        priority: its rows' place among those of their team.
        trace: gets to know when what happened, if the caller wants to know.
    """

    __slots__ = ("_answers", "_missing", "arrived_s", "deadline_s", "future", "priority", "rows", "trace")

    def __init__(
        self,
        future: "asyncio.Future[list[Answers]]",
        rows: int,
        parts: int,
        *,
        arrived_s: float,
        deadline_s: float,
        priority: Priority,
        trace: Trace | None,
    ) -> None:
        self.future = future
        self.rows = rows
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
        self.priority = priority
        self.trace = trace
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

    def fail_row(self, index: int, failure: ServingError) -> None:
        """Fail the whole request since row ``index`` of it failed, with an exception of its own.

        Others get one made of the same failure; raising one adds to its traceback.
        """
        if self.future.done():
            return
        text = str(failure)
        error = type(failure)(text if self.rows == 1 else f"Row {index} of {self.rows}: {text}")
        error.__cause__ = failure.__cause__
        self.future.set_exception(error)


class Claim:
    """What a request wants of one of its rows in one tree, and the flight that is to bring it.

    Hashed by identity and without validation: one is made for every row of every request.
    """

    __slots__ = ("flight", "index", "request", "route", "row")

    def __init__(self, request: Request, index: int, row: Row, route: Route) -> None:
        self.request = request
        self.index = index
        self.row = row
        self.route = route
        self.flight: Flight | None = None
