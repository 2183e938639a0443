import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from heads.base.inspect.neighbours import find_neighbours, pair_cosines
from heads.base.tasks.retrieval import find_alike


def turned(*degrees: float) -> np.ndarray:
    angles = np.radians(degrees)
    return np.stack((np.cos(angles), np.sin(angles)), axis=1)


@given(st.integers(2, 30), st.integers(1, 4), st.integers(0, 1000))
@settings(max_examples=40)
def test_recall_at_1_and_map_are_what_the_metrics_of_the_gate_say(rows: int, labels: int, seed: int) -> None:
    chance = np.random.default_rng(seed)
    names = [f"l{number}" for number in chance.integers(0, labels, rows)]
    vectors_ND = chance.standard_normal((rows, 3)).round(1) + 0.01
    vectors_ND /= np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    found = find_neighbours(names, vectors_ND)
    hits, asked = found.found(1)
    expected = find_alike(names, vectors_ND)
    assert bool(expected) == bool(asked)
    if asked:
        assert expected["recall_at_1"] == pytest.approx(hits / asked)
        assert expected["map"] == pytest.approx(np.nanmean(found.precisions))


def test_recall_at_k_counts_who_has_its_like_among_the_k_nearest_of_all() -> None:
    found = find_neighbours(["a", "b", "b", "a"], turned(0, 12, 20, 40))
    assert found.ranks.tolist() == [3, 1, 1, 3]
    assert [found.found(k) for k in (1, 2, 3)] == [(2, 4), (2, 4), (4, 4)]
    assert found.found(1, [0, 1]) == (1, 2)


def test_one_of_a_label_is_asked_for_nothing() -> None:
    found = find_neighbours(["a", "b", "b"], turned(0, 12, 20))
    assert found.asked.tolist() == [False, True, True]
    assert found.found(1) == (2, 2)
    assert found.alike[0] == 0


def test_pairs_of_two_labels_come_once_and_the_nearest_first() -> None:
    found = find_neighbours(["a", "b", "a", "b"], turned(0, 4, 30, 90))
    pairs = found.confused_pairs(9)
    assert [{row, other} for row, other, _ in pairs] == [{0, 1}, {1, 2}, {2, 3}]
    assert [cosine for _, _, cosine in pairs] == sorted((cosine for _, _, cosine in pairs), reverse=True)
    assert len(found.confused_pairs(2)) == 2


def test_of_one_label_alone_nobody_is_confused() -> None:
    found = find_neighbours(["a", "a"], turned(0, 4))
    assert found.confused_pairs(3) == []
    within, between = pair_cosines(["a", "a"], turned(0, 60))
    assert within == pytest.approx([0.5])
    assert len(between) == 0
