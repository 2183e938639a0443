"""Metrics: against values worked out by hand, and against each other."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.base import Classify, Embed, Multilabel, Regress, Segment, Tag
from heads.base.tasks.metrics import Counts, f1, measure, measure_slices, r2, ranks, spearman, watched_score
from zoo.labels import Example, Span, Target
from zoo.masks import UNLABELLED, Mask

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


@pytest.mark.parametrize("value", [0.1, 3.3, 1e9 + 0.1])
def test_equal_values_explain_nothing_also_where_their_mean_is_rounded(value: float) -> None:
    assert np.isnan(r2(np.full(7, value), np.full(7, value + 1)))


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


def test_vectors_of_a_slice_look_for_their_like_among_all() -> None:
    examples = [example("a", "short"), example("a"), example("b"), example("b")]
    found: list[Target] = [(1.0, 0.0), (0.8, 0.6), (0.0, 1.0), (-0.6, 0.8)]
    metrics = measure_slices(Embed(dim=2), examples, found)
    assert metrics.overall.values == {"recall_at_1": 1.0, "map": 1.0}
    assert metrics.slices["short"].examples == 1
    assert metrics.slices["short"].values == {"recall_at_1": 1.0, "map": 1.0}


def mask(*places: int) -> Mask:
    return Mask(height=1, width=len(places), pixels=bytes(places))


def test_pixels_of_all_images_count_together_and_those_without_a_label_not_at_all() -> None:
    task = Segment(labels=("ground", "glyph", "dirt"))
    expected: list[Target] = [mask(0, 0, 1, UNLABELLED), mask(1, 1, 1, 0)]
    found: list[Target] = [mask(0, 1, 1, 1), mask(1, 1, 0, 0)]
    values = measure(task, expected, found)
    assert values == pytest.approx(
        {"mean_iou": (2 / 4 + 3 / 5) / 2, "macro_f1": (4 / 6 + 6 / 8) / 2, "accuracy": 5 / 7}
        | {"f1.ground": 4 / 6, "f1.glyph": 6 / 8}
    )


# What torchmetrics measures too is measured as torchmetrics does it. It is not used where heads are trained: its import
# alone takes longer than most trainings, and its scores of sets are in single precision.


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30))
def test_one_class_of_several_is_measured_as_torchmetrics_does(pairs: list[tuple[int, int]]) -> None:
    from torchmetrics.functional.classification import multiclass_accuracy, multiclass_f1_score

    names = ("a", "b", "c", "d")
    values = measure(Classify(labels=names), [names[a] for a, _ in pairs], [names[b] for _, b in pairs])
    wanted, found = (torch.tensor(each) for each in zip(*pairs, strict=True))
    assert values["macro_f1"] == pytest.approx(float(multiclass_f1_score(found, wanted, 4, average="macro")), abs=1e-6)
    assert values["accuracy"] == pytest.approx(float(multiclass_accuracy(found, wanted, 4, average="micro")), abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.booleans(), min_size=6, max_size=6), min_size=1, max_size=20))
def test_several_labels_are_measured_as_torchmetrics_does(rows: list[list[bool]]) -> None:
    from torchmetrics.functional.classification import multilabel_exact_match, multilabel_f1_score

    names = ("a", "b", "c")
    both = torch.tensor(rows).view(-1, 2, 3).int()
    wanted, found = both[:, 0], both[:, 1]
    right, answered = (
        [tuple(name for name, has in zip(names, row, strict=True) if has) for row in each.tolist()]
        for each in (wanted, found)
    )
    values = measure(Multilabel(labels=names), right, answered)
    assert values["exact_match"] == pytest.approx(float(multilabel_exact_match(found, wanted, 3)), abs=1e-6)
    if (wanted + found).any():  # where nothing is wanted and nothing found, torchmetrics says 0
        assert values["micro_f1"] == pytest.approx(
            float(multilabel_f1_score(found, wanted, 3, average="micro")), abs=1e-6
        )


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_values_are_measured_as_torchmetrics_does(pairs: list[tuple[int, int]]) -> None:
    from torchmetrics.functional import mean_absolute_error, r2_score, spearman_corrcoef

    a, b = (torch.tensor(each, dtype=torch.float64) for each in zip(*pairs, strict=True))
    values = measure(Regress(low=0, high=9), a.tolist(), b.tolist())
    assert values["mae"] == pytest.approx(float(mean_absolute_error(b, a)))
    if "r2" in values:
        assert values["r2"] == pytest.approx(float(r2_score(b, a)), rel=1e-4, abs=1e-4)
    if "spearman" in values:
        assert values["spearman"] == pytest.approx(float(spearman_corrcoef(b, a)), abs=1e-4)
    assert ("r2" in values) == (r2(a.numpy(), b.numpy()) == r2(a.numpy(), b.numpy()))


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 4), st.integers(0, 2**32 - 1))
def test_masks_are_measured_as_torchmetrics_does(size: int, seed: int) -> None:
    from torchmetrics.functional.classification import (
        multiclass_accuracy,
        multiclass_f1_score,
        multiclass_jaccard_index,
    )

    random = np.random.default_rng(seed)
    wanted, found = (random.integers(0, size, (2, 5, 6)).astype(np.uint8) for _ in range(2))
    wanted[random.random(wanted.shape) < 0.2] = UNLABELLED
    task = Segment(labels=tuple("abcd"[:size]))
    values = measure(task, [Mask.of(each) for each in wanted], [Mask.of(each) for each in found])
    pixels = (torch.from_numpy(found).long(), torch.from_numpy(wanted).long(), size)
    right = {
        "mean_iou": multiclass_jaccard_index(*pixels, average="macro", ignore_index=UNLABELLED),
        "macro_f1": multiclass_f1_score(*pixels, average="macro", ignore_index=UNLABELLED),
        "accuracy": multiclass_accuracy(*pixels, average="micro", ignore_index=UNLABELLED),
    }
    assert {name: values[name] for name in right} == pytest.approx(
        {name: float(value) for name, value in right.items()}, abs=1e-6
    )
