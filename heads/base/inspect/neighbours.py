"""Who lies near whom: what an embedding is judged by. Pure functions over vectors of length 1 and their labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Neighbours", "find_neighbours", "pair_cosines"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Neighbours:
    """The nearest of the same label and the nearest of another one, for each of N vectors among all the others.

    Attributes:
        alike: (N,) int64, place of the nearest other vector of the same label; its own place where there is none.
        unlike: (N,) int64, place of the nearest vector of another label; its own place where there is none.
        alike_cosines: (N,) float64, cosine with ``alike``; -1 where there is none.
        unlike_cosines: (N,) float64, cosine with ``unlike``; -1 where there is none.
        ranks: (N,) int64, which neighbour ``alike`` is, 1 for the nearest; 0 where there is none.
        precisions: (N,) float64, average precision of all others, ranked by cosine, as ``tasks.retrieval`` has it; NaN
            where no other has the label.
    """

    alike: NDArray[np.int64]
    unlike: NDArray[np.int64]
    alike_cosines: NDArray[np.float64]
    unlike_cosines: NDArray[np.float64]
    ranks: NDArray[np.int64]
    precisions: NDArray[np.float64]

    @property
    def asked(self) -> NDArray[np.bool_]:
        """(N,) which vectors have another of their label, so that it can be found or not."""
        return self.ranks > 0

    def found(self, k: int, rows: Sequence[int] | None = None) -> tuple[int, int]:
        """Return how many of the rows have one of their label among their ``k`` nearest, and how many could have.

        The share is recall at k, as metric learning counts it (Jégou et al. 2011).

        Args:
            k: how many neighbours are looked at.
            rows: places of those that are asked for, all if None; neighbours are looked for among all.
        """
        ranks = self.ranks if rows is None else self.ranks[np.asarray(rows, np.int64)]
        return int(((ranks > 0) & (ranks <= k)).sum()), int((ranks > 0).sum())

    def confused_pairs(self, most: int) -> list[tuple[int, int, float]]:
        """Return the pairs of different labels that lie nearest: who, whose nearest stranger, cosine; each once."""
        found: dict[tuple[int, int], tuple[int, int, float]] = {}
        for row in np.argsort(-self.unlike_cosines, kind="stable").tolist():
            other = int(self.unlike[row])
            if other != row:
                pair = (min(row, other), max(row, other))
                found.setdefault(pair, (row, other, float(self.unlike_cosines[row])))
            if len(found) == most:
                break
        return list(found.values())


def find_neighbours(labels: Sequence[str], vectors_ND: NDArray[np.floating]) -> Neighbours:
    """Return the nearest alike and the nearest unlike of each vector; of equally near ones, the first.

    Args:
        labels: of each vector.
        vectors_ND: of length 1; at least one.

    >>> found = find_neighbours(["a", "b", "a"], np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]]))
    >>> found.alike.tolist(), found.unlike.tolist(), found.ranks.tolist()
    ([2, 1, 0], [1, 2, 1], [2, 0, 2])
    """
    cosines_NN = vectors_ND.astype(np.float64) @ vectors_ND.astype(np.float64).T
    numbers_N = np.unique(np.asarray(labels, dtype=str), return_inverse=True)[1]
    every_N = np.arange(len(labels))
    same_NN = numbers_N[:, None] == numbers_N
    unlike_NN = np.where(same_NN, -np.inf, cosines_NN)
    alike_NN = np.where(same_NN & ~np.eye(len(labels), dtype=bool), cosines_NN, -np.inf)
    np.fill_diagonal(cosines_NN, -np.inf)  # the last of all: itself
    order_NN = np.argsort(-cosines_NN, axis=1, kind="stable")[:, :-1]
    hits_NN = np.take_along_axis(same_NN, order_NN, axis=1)
    ranks_N, precisions_N = _ranked(hits_NN)
    alike_N, unlike_N = alike_NN.argmax(axis=1), unlike_NN.argmax(axis=1)
    near_N, far_N = alike_NN[every_N, alike_N], unlike_NN[every_N, unlike_N]
    return Neighbours(
        alike=np.where(np.isfinite(near_N), alike_N, every_N),
        unlike=np.where(np.isfinite(far_N), unlike_N, every_N),
        alike_cosines=np.where(np.isfinite(near_N), near_N, -1.0),
        unlike_cosines=np.where(np.isfinite(far_N), far_N, -1.0),
        ranks=ranks_N,
        precisions=precisions_N,
    )


def _ranked(hits_NM: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return the first place of a hit in each ranking, from 1, 0 for none, and the average precision, NaN for none."""
    if not hits_NM.shape[1]:
        return np.zeros(len(hits_NM), np.int64), np.full(len(hits_NM), np.nan)
    counts_N = hits_NM.sum(axis=1)
    shares_NM = hits_NM.cumsum(axis=1) / np.arange(1, hits_NM.shape[1] + 1)
    totals_N = (shares_NM * hits_NM).sum(axis=1)
    precisions_N = np.divide(totals_N, counts_N, out=np.full(len(hits_NM), np.nan), where=counts_N > 0)
    return np.where(counts_N > 0, 1 + hits_NM.argmax(axis=1), 0), precisions_N


def pair_cosines(
    labels: Sequence[str], vectors_ND: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the cosines of all pairs of one label, and of all pairs of two.

    Args:
        labels: of each vector.
        vectors_ND: of length 1.

    >>> within, between = pair_cosines(["a", "b", "a"], np.array([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    >>> within.tolist(), between.tolist()
    ([0.6], [0.0, 0.8])
    """
    first_P, second_P = np.triu_indices(len(labels), k=1)
    cosines_P = (vectors_ND.astype(np.float64) @ vectors_ND.astype(np.float64).T)[first_P, second_P]
    names_N = np.asarray(labels, dtype=str)
    same_P = names_N[first_P] == names_N[second_P]
    return cosines_P[same_P], cosines_P[~same_P]
