"""Answers that are compared, as parity counts them, and thresholds that decide what is answered."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.base.tasks.targets import Comparable, best_thresholds


@pytest.mark.parametrize(
    ("one", "other", "same"), [(0.5049999, 0.5050001, True), (7.0, 7.004, True), (7.0, 7.02, False)]
)
def test_values_are_the_same_answer_if_nobody_could_read_a_difference(one: float, other: float, same: bool) -> None:
    assert (Comparable(one) == Comparable(other)) is same


SCORES = st.floats(0, 1, width=32)
TINY, NEARLY_ONE = st.floats(0, 2**-19, width=32), st.floats(1 - 2**-19, 1, width=32)


@given(
    st.one_of(
        *(st.lists(st.tuples(each, st.booleans()), min_size=1, max_size=12) for each in (SCORES, TINY, NEARLY_ONE))
    )
)
@settings(max_examples=200)
def test_a_threshold_is_as_good_as_any_that_tells_two_scores_apart(rows: list[tuple[float, bool]]) -> None:
    scores_N = np.array([score for score, _ in rows], np.float32)
    wanted_N = np.array([wanted for _, wanted in rows])

    def f1(threshold: np.float32) -> float:
        found_N = scores_N >= threshold
        total = int(found_N.sum() + wanted_N.sum())
        return 2 * int((found_N & wanted_N).sum()) / total if total else 0.0

    (chosen,) = best_thresholds(scores_N[:, None], wanted_N[:, None])
    above_the_least = [f1(score) for score in np.unique(scores_N)[1:]]
    assert f1(np.float32(chosen)) >= max([f1(np.float32(0.5)), *above_the_least])
