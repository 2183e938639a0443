"""How sure a number is: intervals, confusions and calibration, against values that can be worked out by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heads.base.inspect.statistics import (
    NOMINAL,
    bootstrap,
    confusion,
    coverage,
    most_confused,
    reliability,
    wilson,
)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilsons_interval_holds_the_share_and_stays_between_none_and_all(hits: int, count: int) -> None:
    hits = min(hits, count)
    found = wilson(hits, count)
    assert 0 <= found.low <= hits / count + 1e-12
    assert hits / count - 1e-12 <= found.high <= 1


def test_nothing_counted_says_nothing() -> None:
    assert (wilson(0, 0).low, wilson(0, 0).high) == (0, 1)
    assert np.isnan(bootstrap(lambda _chosen: 1.0, 1, resamples=10).low)


def test_the_bootstrap_interval_of_a_mean_is_about_two_standard_errors() -> None:
    values = np.random.default_rng(3).normal(5, 2, 400)
    found = bootstrap(lambda chosen: float(values[chosen].mean()), 400, resamples=500)
    error = values.std() / 20
    assert abs(found.low - (values.mean() - 1.96 * error)) < 0.3 * error
    assert abs(found.high - (values.mean() + 1.96 * error)) < 0.3 * error


def test_the_same_rows_give_the_same_interval() -> None:
    values = np.arange(20.0)
    first, second = (bootstrap(lambda chosen: float(values[chosen].mean()), 20, resamples=50) for _ in range(2))
    assert first == second


def test_confusions_are_counted_by_what_was_wanted_and_the_most_frequent_comes_first() -> None:
    counts = confusion(("a", "b", "c"), ["a", "a", "b", "c", "c", "c"], ["b", "a", "b", "a", "a", "c"])
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 1]]
    assert most_confused(counts, 10) == [(2, 0, 2), (0, 1, 1)]
    assert most_confused(np.eye(3, dtype=np.int64), 10) == []


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60))
def test_every_answer_is_in_one_bin_of_its_confidence(answers: list[tuple[float, bool]]) -> None:
    confidence, right = np.array([c for c, _ in answers]), np.array([r for _, r in answers])
    bins = reliability(confidence, right, 15)
    assert sum(each.count for each in bins) == len(answers)
    assert all(each.low - 1e-9 <= each.confidence <= each.high + 1e-9 for each in bins if each.count)


def test_intervals_of_a_gaussian_that_is_known_cover_what_they_say() -> None:
    chance = np.random.default_rng(0)
    deviations_N = chance.uniform(0.5, 2, 20_000)
    found = coverage(chance.standard_normal(20_000) * deviations_N, np.zeros(20_000), deviations_N)
    for each in found:
        assert abs(each.covered / each.count - each.nominal) < 0.02
    assert [each.nominal for each in found] == list(NOMINAL)
    widths = [each.width for each in found]
    assert widths == sorted(widths)
