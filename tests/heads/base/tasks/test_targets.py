"""Answers that are compared: what parity counts as equal."""

import pytest

from heads.base.tasks.targets import Comparable


@pytest.mark.parametrize(
    ("one", "other", "same"), [(0.5049999, 0.5050001, True), (7.0, 7.004, True), (7.0, 7.02, False)]
)
def test_values_are_the_same_answer_if_nobody_could_read_a_difference(one: float, other: float, same: bool) -> None:
    assert (Comparable(one) == Comparable(other)) is same
