from typing import Any

import pytest

from serving.grpc.timing import deadline_of


class Call:
    """The part of a call's context that knows the time."""

    def __init__(self, left_s: float | None) -> None:
        self.left_s = left_s

    def time_remaining(self) -> float | None:
        return self.left_s


@pytest.mark.parametrize(
    ("left_s", "at_most_s", "deadline"),
    [
        (None, None, None),
        (2.0, None, 102.0),
        (None, 0.5, 100.5),
        (2.0, 0.5, 100.5),
        (0.25, 0.5, 100.25),
        (0.0, None, 100.0),
    ],
)
def test_the_earlier_limit_counts_and_none_is_no_deadline(
    left_s: float | None, at_most_s: float | None, deadline: float | None
) -> None:
    context: Any = Call(left_s)
    assert deadline_of(context, lambda: 100.0, at_most_s=at_most_s) == deadline
