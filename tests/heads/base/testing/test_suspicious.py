import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.base import Classify, Embed, Multilabel, Regress, Tag
from heads.base.testing.suspicious import confident_errors, out_of_sample, suspicious_labels
from heads.base.testing.vectors import Placed
from zoo.labels import Example, Target

CHANCE = np.random.default_rng(0)
CLASSES = np.arange(120) % 3
VECTORS = CHANCE.standard_normal((120, 6)) * 0.3 + np.eye(6)[CLASSES] * 2


def placed(kind: str, targets: list[Target]) -> Placed:
    examples = [
        Example(id=f"x-{n:03}", text=f"text {n}", image="", split="train", slices=(), kind=kind, target=target)
        for n, target in enumerate(targets)
    ]
    return Placed(examples=tuple(examples), digests=tuple(map(str, range(len(targets)))), vectors=VECTORS)


def test_flipped_classes_are_found_and_right_ones_are_left_alone() -> None:
    labels = ["abc"[c] for c in CLASSES]
    labels[7], labels[50] = "c", "a"
    found = suspicious_labels(Classify(labels=("a", "b", "c")), placed("label", list(labels)))
    assert sorted(each.ids[0] for each in found) == ["x-007", "x-050"]
    assert "is labelled 'c' (probability 0.0" in next(each.text for each in found if each.ids == ("x-007",))


def test_a_label_that_is_missing_among_several_is_found() -> None:
    targets: list[Target] = [("a",) if c == 0 else ("b",) if c == 1 else ("a", "b") for c in CLASSES]
    targets[0] = ()
    found = suspicious_labels(Multilabel(labels=("a", "b")), placed("labels", targets))
    assert [each.ids for each in found] == [("x-000",)]
    assert "'not a'" in found[0].text
    assert "looks like 'a'" in found[0].text


def test_a_value_far_from_what_its_features_say_is_found() -> None:
    targets: list[Target] = [float(2 + 3 * c) for c in CLASSES]
    targets[30] = 9.5
    found = suspicious_labels(Regress(low=0, high=10), placed("value", targets))
    assert found[0].ids == ("x-030",)
    assert found[0].text.startswith("x-030 (train) 'text 30' has the value 9.5 and looks like 2.")


def test_a_label_that_none_of_its_neighbours_has_is_found_where_they_agree_in_another() -> None:
    labels = ["abc"[c] for c in CLASSES]
    labels[7] = "c"
    labels[60] = "alone"
    found = suspicious_labels(Embed(dim=4), placed("label", list(labels)))
    assert [each.ids for each in found] == [("x-007",)], "one of a label cannot have a neighbour of it"
    assert "is labelled 'c', which none of its 5 nearest neighbours is; 5 of them are 'b'" in found[0].text


def test_neighbours_that_do_not_agree_say_nothing() -> None:
    labels: list[Target] = [f"l{number // 2}" for number in range(120)]
    assert suspicious_labels(Embed(dim=4), placed("label", labels)) == []


def test_labels_of_one_class_alone_and_tasks_without_classes_are_not_judged() -> None:
    everything = placed("label", ["a"] * 120)
    assert suspicious_labels(Classify(labels=("a", "b")), everything) == []
    assert suspicious_labels(Tag(labels=("a",)), everything) == []


def test_no_example_is_judged_by_a_head_that_learned_from_it() -> None:
    """Labels that are pure chance cannot be predicted, unless one's own was seen."""
    labels_N = CHANCE.integers(0, 2, 120)
    scores_NC = out_of_sample(CHANCE.standard_normal((120, 200)), labels_N, seed=0)
    assert abs((scores_NC.argmax(1) == labels_N).mean() - 0.5) < 0.15


@pytest.mark.parametrize("rows", range(6, 12))
def test_of_few_examples_too_each_is_judged_by_a_head_that_never_saw_it(rows: int) -> None:
    vectors_ND, labels_N = VECTORS[:rows], np.arange(rows) % 2
    scores_NC = out_of_sample(vectors_ND, labels_N, seed=0)
    assert (scores_NC != 0.5).all(), "nobody judged it"
    targets: list[Target] = [5.0 + 0.01 * number for number in range(rows)]
    few = placed("value", targets)
    few = Placed(examples=few.examples, digests=few.digests, vectors=np.zeros((rows, 1)))
    assert suspicious_labels(Regress(low=0, high=10), few) == []


def test_a_class_with_one_example_does_not_stop_the_others_from_being_judged() -> None:
    labels_N = np.where(np.arange(120) == 5, 3, CLASSES)
    scores_NC = out_of_sample(VECTORS, labels_N, seed=0)
    assert scores_NC.shape == (120, 4)
    assert np.allclose(scores_NC.sum(1), 1)


@given(st.integers(2, 5), st.integers(0, 1000))
@settings(max_examples=50)
def test_what_is_listed_is_less_likely_labelled_right_than_as_the_other_class(classes: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    scores_NC = chance.dirichlet(np.ones(classes), 40)
    given_N = chance.integers(0, classes, 40)
    found = confident_errors(scores_NC, given_N)
    margins = [scores_NC[row, given_N[row]] - scores_NC[row, other] for row, other in found]
    assert margins == sorted(margins)
    assert all(margin < 0 for margin in margins)


def test_sure_and_right_scores_have_nothing_suspicious() -> None:
    assert confident_errors(np.eye(3)[CLASSES], CLASSES) == []


def test_no_part_is_judged_by_a_head_that_learned_from_another_part_of_its_example() -> None:
    """Features that say which example it is, and no more, tell nothing of its label."""
    groups_N = np.repeat(np.arange(30), 4)
    labels_N = np.repeat(CHANCE.integers(0, 2, 30), 4)
    vectors_ND = np.eye(30)[groups_N]
    apart = out_of_sample(vectors_ND, labels_N, seed=0, loss_weight=1000, groups_N=groups_N)
    together = out_of_sample(vectors_ND, labels_N, seed=0, loss_weight=1000)
    assert (together.argmax(1) == labels_N).mean() > 0.9
    assert (apart.argmax(1) == labels_N).mean() < 0.75


@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_seed_gives_the_same_folds(seed: int) -> None:
    one, two = (out_of_sample(VECTORS, CLASSES, seed=seed) for _ in range(2))
    assert np.array_equal(one, two)
