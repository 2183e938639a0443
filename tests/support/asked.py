"""Rows for an execution, without an engine around it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from serving.execution import Answers, Execution, Found, Start
from serving.plan import Route
from zoo.preprocessing import Row


@dataclass(frozen=True)
class Asked:
    """A row and what is wanted for it; ``still_wanted`` is asked between stages."""

    row: Row
    route: Route
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    still_wanted: Callable[[], bool] = lambda: True

    def wanted(self) -> bool:
        return self.still_wanted()


def answer_all(execution: Execution, asked: Sequence[tuple[Row, Route]]) -> tuple[list[Answers], list[Found]]:
    """Answer rows as an engine would: from the cache, and the rest in one batch for each place where rows start.

    Returns:
        For each row its answers, and what the cache had for it.
    """
    found = [execution.lookup(route, row) for row, route in asked]
    answers = [dict(each.answers) for each in found]
    starting: dict[Start, list[tuple[int, Asked]]] = {}
    for position, ((row, _), each) in enumerate(zip(asked, found, strict=True)):
        if each.route is not None:
            starting.setdefault(each.start, []).append((position, Asked(row, each.route, each.features)))
    for start, works in starting.items():
        result = execution.run(start, [work for _, work in works])
        assert not result.failures
        for (position, _), given in zip(works, result.answers, strict=True):
            answers[position].update(given)
    return answers, found
