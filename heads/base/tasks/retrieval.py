"""How well vectors find their like: each is a query once, and all others are ranked by their cosine with it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["find_alike"]

_QUERIES_AT_ONCE = 1024


def find_alike(
    labels: Sequence[str], vectors_ND: NDArray[np.float64], queries: Sequence[int] | None = None
) -> dict[str, float]:
    """Return how well vectors of one label find each other among all.

    ``recall_at_1`` is the share of queries whose nearest neighbour has their label, as metric learning counts it
    (Jégou et al. 2011), and ``map`` the mean over queries of their average precision: the mean, over the places of
    those of the same label, of the share of such ones up to there. A query with no other of its label has neither.

    Args:
        labels: of each vector.
        vectors_ND: of length 1.
        queries: places of those that are asked for; the others are only found. All, if None.

    Returns:
        Both; nothing, if no query has another of its label.

    >>> vectors = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
    >>> find_alike(["a", "b", "a"], vectors)
    {'recall_at_1': 0.0, 'map': 0.5}
    """
    chosen = np.arange(len(labels)) if queries is None else np.asarray(queries, dtype=np.int64)
    numbers_N = np.unique(np.asarray(labels, dtype=object).astype(str), return_inverse=True)[1]
    parts = [
        _found(numbers_N, vectors_ND, chosen[start : start + _QUERIES_AT_ONCE])
        for start in range(0, len(chosen), _QUERIES_AT_ONCE)
    ]
    first_Q, precision_Q = (np.concatenate([part[key] for part in parts] or [np.empty(0)]) for key in (0, 1))
    if not len(first_Q):
        return {}
    return {"recall_at_1": float(first_Q.mean()), "map": float(precision_Q.mean())}


def _found(
    numbers_N: NDArray[np.int64], vectors_ND: NDArray[np.float64], queries_Q: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return, for each query that has its like, whether the nearest is one, and its average precision."""
    cosines_QN = vectors_ND[queries_Q] @ vectors_ND.T
    cosines_QN[np.arange(len(queries_Q)), queries_Q] = -np.inf  # the last of all: itself
    order_QN = np.argsort(-cosines_QN, axis=1, kind="stable")[:, :-1]
    alike_QN = numbers_N[order_QN] == numbers_N[queries_Q, None]
    alike_QN = alike_QN[alike_QN.any(axis=1)]
    share_QN = alike_QN.cumsum(axis=1) / np.arange(1, alike_QN.shape[1] + 1)
    return alike_QN[:, :1].astype(np.float64).ravel(), (share_QN * alike_QN).sum(axis=1) / alike_QN.sum(axis=1)
