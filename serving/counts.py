"""What is counted: plain values, which ``serving.statistics.Statistics`` adds to and hands out copies of."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

__all__ = [
    "OK",
    "SECONDS",
    "BatchCounts",
    "BatchStatistics",
    "CacheCounts",
    "Counts",
    "Duration",
    "HeadCounts",
    "Histogram",
    "RpcCounts",
    "ShadowOutcome",
    "StageRuns",
    "Swaps",
    "VersionStatistics",
]

OK = "ok"
"""The code of what was answered; an error has its own."""

ShadowOutcome = Literal["agreed", "disagreed", "failed"]
"""What became of one row of a shadow: its answer is the live one's, or another, or there is none."""

NS_PER_S = 1_000_000_000

SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of times, from a trivial head to a caller's patience."""

ROWS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0)

SHARES = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.75)

RATIOS = (0.25, 0.5, 0.67, 0.8, 0.9, 1.0, 1.1, 1.25, 1.5, 2.0, 4.0)
"""Upper bounds of what was predicted over what it took: 1 is a prediction that was right."""


class Histogram:
    """How often values fell below each of some bounds, and their sum.

    Args:
        bounds: rising; a value that is equal to a bound counts below it.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        """How many values fell between a bound and the one before it; the last are those above all bounds."""
        self.total = 0.0

    def add(self, value: float, count: int = 1) -> None:
        """Count a value ``count`` times.

        >>> histogram = Histogram((1, 2))
        >>> for value in (1, 1.5, 3):
        ...     histogram.add(value)
        >>> histogram.counts, histogram.total
        ([1, 1, 1], 5.5)
        """
        self.counts[bisect_left(self.bounds, value)] += count
        self.total += value * count

    @property
    def count(self) -> int:
        """How many values were counted."""
        return sum(self.counts)

    def __deepcopy__(self, _: object) -> "Histogram":
        """Return another one that does not change with this one."""
        copied = Histogram(self.bounds)
        copied.counts, copied.total = self.counts.copy(), self.total
        return copied


def _seconds() -> Histogram:
    return Histogram(SECONDS)


@dataclass(slots=True)
class Duration:
    """How often something happened, and how long it took in all."""

    count: int = 0
    total_ns: int = 0

    def add(self, seconds: float, count: int = 1) -> None:
        """Count ``count`` more that took ``seconds`` together."""
        self.count += count
        self.total_ns += round(seconds * NS_PER_S)


@dataclass(slots=True)
class BatchStatistics:
    """What batches of one size took."""

    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)


@dataclass(slots=True)
class VersionStatistics:
    """What one version did since it was loaded.

    ``success`` and ``fail`` count requests, from arrival to answer; a request of several rows is one, and what the
    cache answered is among them. ``queue`` and the compute times count rows, each with the whole time of the batch that
    it shared: a caller waits for all of it. A row that the cache answered was queued for no time and computed nothing.
    """

    rows: int = 0
    """Rows that batches answered; a row that several callers asked for at once counts for each of them."""
    batches: int = 0
    """Batches that answered them."""
    last_inference_ms: int = 0
    """When the last of these ended, in milliseconds of Unix time; 0 if none has."""
    success: Duration = field(default_factory=Duration)
    fail: Duration = field(default_factory=Duration)
    queue: Duration = field(default_factory=Duration)
    compute_input: Duration = field(default_factory=Duration)
    compute_infer: Duration = field(default_factory=Duration)
    compute_output: Duration = field(default_factory=Duration)
    cache_hit: Duration = field(default_factory=Duration)
    """Rows that the cache answered."""
    cache_miss: Duration = field(default_factory=Duration)
    """Rows that the cache was asked for in vain."""
    by_batch_rows: dict[int, BatchStatistics] = field(default_factory=dict)
    """By number of rows, of this version, in the batch; the counts in it are batches."""
    by_code: dict[str, int] = field(default_factory=dict)
    """Requests by how they ended: ``ok``, or the code of their error."""


@dataclass(slots=True)
class StageRuns:
    """How often a node of the plan ran, on how many rows, and for how long."""

    name: str = ""
    runs: int = 0
    rows: int = 0
    seconds: Histogram = field(default_factory=_seconds)
    rows_per_run: Histogram = field(default_factory=lambda: Histogram(ROWS))


@dataclass(slots=True)
class HeadCounts:
    """What all versions of a head did since the server started, those that are not loaded any more among them."""

    team: str
    queue: Histogram = field(default_factory=_seconds)
    """Rows, by how long they waited for their batch."""
    requests: Histogram = field(default_factory=_seconds)
    """Requests, by how long they took from arrival to answer."""
    by_code: dict[str, int] = field(default_factory=dict)
    rows: int = 0
    cache_hits: int = 0
    cache_misses: int = 0


@dataclass(slots=True)
class BatchCounts:
    """What batches were like, whatever was in them."""

    by_reason: dict[tuple[str, str], int] = field(default_factory=dict)
    """By why it was their turn, and why they held no more rows."""
    lane_s: dict[int, float] = field(default_factory=dict)
    """By lane: how many seconds it ran batches."""
    rows: Histogram = field(default_factory=lambda: Histogram(ROWS))
    padding: Histogram = field(default_factory=lambda: Histogram(SHARES))
    """By the share of their tokens that was padding."""
    real_tokens: int = 0
    padded_tokens: int = 0
    predicted_s: float = 0.0
    """Of the batches whose time was predicted; ``ran_s`` is what these took."""
    ran_s: float = 0.0
    predicted_ratio: Histogram = field(default_factory=lambda: Histogram(RATIOS))


@dataclass(slots=True)
class CacheCounts:
    """How often rows found what a node gives in the cache, to start there rather than at the body's beginning."""

    hits: int = 0
    misses: int = 0


@dataclass(slots=True)
class RpcCounts:
    """How the calls of one rpc ended, and how long they took."""

    by_code: dict[str, int] = field(default_factory=dict)
    seconds: Histogram = field(default_factory=_seconds)


@dataclass(slots=True)
class Swaps:
    """What became of the plans that were to replace the one that runs."""

    epoch: int = 0
    """Id of the newest promotion that the plan reflects."""
    complete: bool = True
    """Whether everything that is promoted is served."""
    swapped: Duration = field(default_factory=Duration)
    """Plans that run, or ran, from the first look at the log to the swap."""
    seconds: Histogram = field(default_factory=_seconds)
    """The same, by how long they took."""
    failed: int = 0
    """Attempts after which something that is promoted was not served."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """A copy of all that is counted."""

    versions: Mapping[str, VersionStatistics]
    """By digest."""
    stages: Mapping[str, StageRuns]
    """By path digest."""
    heads: Mapping[str, HeadCounts]
    batches: BatchCounts
    features: CacheCounts
    rpcs: Mapping[str, RpcCounts]
    dropped: Mapping[tuple[str, str], int]
    """Rows by reason and team."""
    merged: Mapping[str, int]
    """Rows by team."""
    swaps: Swaps
    shadows: Mapping[tuple[str, str, ShadowOutcome], int]
    """Rows by head, version digest and outcome."""
    front_end_restarts: int
    """How many front-end processes ended and were replaced."""
