"""How sure a number is, and where answers go wrong: pure functions over outputs and targets."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "NOMINAL",
    "Bin",
    "Coverage",
    "Interval",
    "bootstrap",
    "confusion",
    "coverage",
    "most_confused",
    "reliability",
    "shown_interval",
    "wilson",
]

NOMINAL = (0.5, 0.6827, 0.8, 0.9, 0.95, 0.99)
"""Shares of values that intervals are made to cover; the second is one standard deviation on each side."""

CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)


@dataclass(frozen=True, slots=True)
class Interval:
    """A 95 % confidence interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Answers of about equal confidence.

    Attributes:
        low: least confidence of the bin, 0 to 1.
        high: its end.
        count: how many answers are in it.
        confidence: their mean confidence; 0 where there is none.
        right: the share of them that is right; 0 where there is none.
    """

    low: float
    high: float
    count: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How often intervals hold the value that they are about.

    Attributes:
        nominal: the share that they should cover, 0 to 1.
        covered: how many do.
        count: of how many.
        width: their mean width, in the unit of the values.
    """

    nominal: float
    covered: int
    count: int
    width: float


def wilson(hits: int, count: int) -> Interval:
    """Return Wilson's score interval of a share (Wilson 1927); 0 to 1 if nothing was counted.

    >>> found = wilson(8, 10)
    >>> round(found.low, 3), round(found.high, 3)
    (0.49, 0.943)
    """
    if not count:
        return Interval(0.0, 1.0)
    share, z2 = hits / count, _Z**2
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = _Z / (1 + z2 / count) * np.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Interval(max(0.0, float(middle - half)), min(1.0, float(middle + half)))


def shown_interval(interval: Interval, digits: int) -> str:
    """Return an interval as people read it.

    >>> shown_interval(Interval(0.5, 0.75), 2), shown_interval(Interval(float("nan"), float("nan")), 2)
    ('0.50 to 0.75', '–')
    """
    return "–" if np.isnan(interval.low) else f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def bootstrap(measured: Callable[[NDArray[np.int64]], float], rows: int, *, resamples: int, seed: int = 0) -> Interval:
    """Return the percentile bootstrap interval of a measure (Efron 1979); NaNs are left out.

    Args:
        measured: the measure over chosen rows, given as indices with repetitions.
        rows: how many rows there are; with fewer than two there is no interval, and it is all NaN.
        resamples: how often rows are drawn.
        seed: of the draws.
    """
    draws = np.random.default_rng(seed)
    found = np.array([measured(draws.integers(0, rows, rows)) for _ in range(resamples)] if rows > 1 else [])
    found = found[~np.isnan(found)]
    if not len(found):
        return Interval(float("nan"), float("nan"))
    low, high = np.quantile(found, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(float(low), float(high))


def confusion(labels: Sequence[str], wanted: Sequence[str], found: Sequence[str]) -> NDArray[np.int64]:
    """Return how often each label (row) was answered as each label (column).

    >>> confusion(("a", "b"), ["a", "b", "b"], ["a", "a", "b"]).tolist()
    [[1, 0], [1, 1]]
    """
    place = {label: number for number, label in enumerate(labels)}
    counts_CC: NDArray[np.int64] = np.zeros((len(labels), len(labels)), np.int64)
    for (a, b), count in Counter(zip(wanted, found, strict=True)).items():
        counts_CC[place[a], place[b]] += count
    return counts_CC


def most_confused(counts_CC: NDArray[np.int64], most: int) -> list[tuple[int, int, int]]:
    """Return the mistakes that occur most: wanted, answered, how often.

    >>> most_confused(np.array([[5, 0], [2, 7]]), 3)
    [(1, 0, 2)]
    """
    wrong_CC = counts_CC - np.diag(np.diag(counts_CC))
    order = np.argsort(-wrong_CC, axis=None, kind="stable")[:most]
    pairs = [(int(place // len(counts_CC)), int(place % len(counts_CC))) for place in order]
    return [(a, b, int(wrong_CC[a, b])) for a, b in pairs if wrong_CC[a, b]]


def reliability(confidence_N: NDArray[np.floating], right_N: NDArray[np.bool_], bins: int) -> list[Bin]:
    """Return answers in bins of equal width by their confidence, the empty ones too.

    >>> [bin.count for bin in reliability(np.array([0.2, 0.9, 1.0]), np.array([False, True, True]), 2)]
    [1, 2]
    """
    edges = np.linspace(0, 1, bins + 1)
    place_N = np.clip(np.digitize(confidence_N, edges) - 1, 0, bins - 1)
    found = []
    for number in range(bins):
        inside = place_N == number
        count = int(inside.sum())
        found.append(
            Bin(
                low=float(edges[number]),
                high=float(edges[number + 1]),
                count=count,
                confidence=float(confidence_N[inside].mean()) if count else 0.0,
                right=float(right_N[inside].mean()) if count else 0.0,
            )
        )
    return found


def coverage(
    wanted_N: NDArray[np.float64], found_N: NDArray[np.float64], deviations_N: NDArray[np.float64]
) -> list[Coverage]:
    """Return how often Gaussian intervals around predictions hold the value, at each of the ``NOMINAL`` levels.

    A level of p stands for the interval of ``z((1 + p) / 2)`` standard deviations on each side. Of predictions that
    know how unsure they are, a share p of them holds the value, at each level (Kuleshov et al. 2018).

    Args:
        wanted_N: the values.
        found_N: the predictions.
        deviations_N: the standard deviation of each, in the same unit.

    >>> found = coverage(np.array([0.0, 0.0]), np.array([0.1, 9.0]), np.array([1.0, 1.0]))
    >>> [(each.nominal, each.covered) for each in found][:2]
    [(0.5, 1), (0.6827, 1)]
    """
    off_N = np.abs(found_N - wanted_N)
    halves = {level: NormalDist().inv_cdf((1 + level) / 2) * deviations_N for level in NOMINAL}
    return [
        Coverage(nominal=level, covered=int((off_N <= half_N).sum()), count=len(off_N), width=2 * float(half_N.mean()))
        for level, half_N in halves.items()
    ]
