"""Metrics: against values worked out by hand, and against each other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base import Classify, Multilabel, Regress, Tag
from heads.base.metrics import Counts, f1, measure, measure_slices, ranks, spearman, watched_score
from zoo.labels import Example, Span, Target

MOOD = Classify(labels=("good", "bad", "none"))


def example(target: Target, *slices: str) -> Example:
    return Example(id="x", text="x", image="", split="test", slices=slices, kind="label", target=target)


def test_macro_f1_averages_the_labels_that_occur() -> None:
    values = measure(MOOD, ["good", "good", "bad"], ["good", "bad", "bad"])
    assert values == pytest.approx({"accuracy": 2 / 3, "macro_f1": 2 / 3, "f1.good": 2 / 3, "f1.bad": 2 / 3})


def test_a_span_counts_only_if_its_characters_and_label_are_exact() -> None:
    task = Tag(labels=("name", "mail"))
    expected: list[Target] = [(Span(0, 4, "name"), Span(9, 12, "mail")), ()]
    found: list[Target] = [(Span(0, 4, "name"), Span(9, 11, "mail")), (Span(1, 2, "name"),)]
    values = measure(task, expected, found)
    assert values["precision"] == pytest.approx(1 / 3)
    assert values["recall"] == pytest.approx(1 / 2)
    assert values["f1"] == pytest.approx(2 / 5)
    assert values["f1.name"] == pytest.approx(2 / 3)
    assert values["f1.mail"] == 0
    assert values["exact_match"] == 0


def test_multilabel_micro_counts_labels_and_exact_match_counts_rows() -> None:
    task = Multilabel(labels=("a", "b"))
    values = measure(task, [("a", "b"), ("b",), ()], [("a",), ("b",), ()])
    assert values["micro_f1"] == pytest.approx(4 / 5)
    assert values["exact_match"] == pytest.approx(2 / 3)


def test_nothing_wanted_and_nothing_answered_is_perfect() -> None:
    values = measure(Tag(labels=("a",)), [(), ()], [(), ()])
    assert values == {"f1": 1, "precision": 1, "recall": 1, "exact_match": 1}
    assert f1(Counts()) == 1


def test_what_is_not_defined_on_a_slice_is_left_out() -> None:
    values = measure(Regress(low=0, high=10), [5.0, 5.0], [4.0, 6.0])
    assert values == {"mae": 1.0}, "constant values have no correlation"


def test_slices_are_measured_apart_with_their_counts() -> None:
    examples = [example("good", "short"), example("bad", "short", "typos"), example("good")]
    metrics = measure_slices(MOOD, examples, ["good", "good", "good"])
    assert metrics.overall.examples == 3
    assert {name: (each.examples, each.values["accuracy"]) for name, each in metrics.slices.items()} == {
        "short": (2, 0.5),
        "typos": (1, 0.0),
    }


def test_less_error_is_a_better_watched_score() -> None:
    task = Regress(low=0, high=1)
    assert watched_score(task, {"mae": 0.1}) > watched_score(task, {"mae": 0.2})
    assert watched_score(MOOD, {"macro_f1": 0.2}) > watched_score(MOOD, {"macro_f1": 0.1})


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=20))
def test_ranks_sum_to_what_distinct_values_would_and_keep_order(values: list[int]) -> None:
    array = np.array(values, dtype=np.float64)
    ranked = ranks(array)
    assert ranked.sum() == len(values) * (len(values) + 1) / 2
    assert all((ranked[i] < ranked[j]) == (array[i] < array[j]) for i in range(len(values)) for j in range(len(values)))


@given(st.lists(st.integers(-100, 100), min_size=3, max_size=20, unique=True))
def test_spearman_is_one_under_any_rising_function(values: list[int]) -> None:
    array = np.array(values, dtype=np.float64)
    assert spearman(array, np.exp(array / 50)) == pytest.approx(1)
    assert spearman(array, -array) == pytest.approx(-1)
