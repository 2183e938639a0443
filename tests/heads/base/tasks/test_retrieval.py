"""How well vectors find their like: against torchmetrics, query by query."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from heads.base.tasks import retrieval
from heads.base.tasks.retrieval import find_alike


def random_vectors(count: int, seed: int) -> NDArray[np.float64]:
    vectors_ND = np.random.default_rng(seed).normal(size=(count, 4))
    unit_ND: NDArray[np.float64] = vectors_ND / np.linalg.norm(vectors_ND, axis=1, keepdims=True)
    return unit_ND


def by_torchmetrics(labels: list[str], vectors_ND: NDArray[np.float64], queries: list[int]) -> dict[str, float]:
    """Return both metrics as torchmetrics has them.

    Its hit rate of the first is what metric learning calls recall. Scores from 0 down count as not found there, so
    cosines are raised above it.
    """
    import torch
    from torchmetrics.functional.retrieval import retrieval_average_precision, retrieval_hit_rate

    found = []
    for query in queries:
        others = [row for row in range(len(labels)) if row != query]
        alike = torch.tensor([labels[row] == labels[query] for row in others])
        cosines = torch.tensor(2 + vectors_ND[others] @ vectors_ND[query])
        if alike.any():
            found.append(
                (float(retrieval_hit_rate(cosines, alike, top_k=1)), float(retrieval_average_precision(cosines, alike)))
            )
    return dict(zip(("recall_at_1", "map"), map(float, np.mean(found, axis=0)), strict=True)) if found else {}


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from("abc"), min_size=2, max_size=15), st.integers(0, 2**32 - 1), st.data())
def test_both_metrics_are_those_of_torchmetrics(labels: list[str], seed: int, data: st.DataObject) -> None:
    vectors_ND = random_vectors(len(labels), seed)
    queries = data.draw(st.lists(st.sampled_from(range(len(labels))), unique=True, min_size=1))
    assert find_alike(labels, vectors_ND, queries) == pytest.approx(by_torchmetrics(labels, vectors_ND, queries))


def test_what_has_no_other_of_its_label_asks_nothing_but_is_found() -> None:
    vectors_ND = np.array([[1.0, 0.0], [0.6, 0.8], [0.96, 0.28]])
    assert find_alike(["a", "a", "odd"], vectors_ND) == {"recall_at_1": 0.0, "map": 0.5}
    assert find_alike(["a", "b", "odd"], vectors_ND) == {}
    assert find_alike(["a", "a", "odd"], vectors_ND, [2]) == {}


def test_many_queries_are_worked_off_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    labels, vectors_ND = ["a", "b", "c"] * 7, random_vectors(21, 0)
    whole = find_alike(labels, vectors_ND)
    monkeypatch.setattr(retrieval, "_QUERIES_AT_ONCE", 4)
    assert find_alike(labels, vectors_ND) == pytest.approx(whole)
