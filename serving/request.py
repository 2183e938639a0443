"""A call that waits for its answers, and the rows that the engine queues for it."""

import asyncio

from serving.errors import ServingError
from serving.execution import Answers
from serving.plan import Route
from zoo.preprocessing import Row

__all__ = ["Item", "Request"]


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

    __slots__ = ("arrived_s", "deadline_s", "index", "length", "request", "route", "row")

    def __init__(
        self, *, request: Request, index: int, row: Row, route: Route, arrived_s: float, deadline_s: float
    ) -> None:
        self.request = request
        self.index = index
        self.row = row
        self.route = route
        self.length = row.length
        self.arrived_s = arrived_s
        self.deadline_s = deadline_s
