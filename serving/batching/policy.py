"""The batching policy, as a pure function: which of the waiting rows leave as the next batch.

The thread that owns the device asks whenever it is free and takes what is there. So a batch leaves at once while
the device is idle, and gathers while it is busy, without any delay that someone would have to tune.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from serving.batching.priority import Priority

__all__ = ["Decision", "Limits", "WaitingRow", "decide"]


class WaitingRow(Protocol):
    """What the policy knows of a row."""

    @property
    def length(self) -> int:
        """Its tokens; 1 for an input that has none."""

    @property
    def arrived_s(self) -> float:
        """When it was queued, in seconds of the engine's clock."""

    @property
    def deadline_s(self) -> float:
        """From when on its answer is of no use, in seconds of the engine's clock; infinity if always."""

    @property
    def team(self) -> str:
        """Whose share it counts against."""

    @property
    def priority(self) -> Priority:
        """Its place among the rows of its team."""

    @property
    def paths(self) -> tuple[str, ...]:
        """Path digests of the nodes that it visits: what it will cost."""


RowT = TypeVar("RowT", bound=WaitingRow)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What bounds a batch and the queue.

    ``max_rows`` is the largest batch, ``max_waiting_rows`` how many rows wait before new ones are refused. Lengths are
    rounded up to buckets of ``bucket_tokens``; rows of one bucket always fit together, and shorter ones join
    while padding is at most ``max_padding`` of the batch's tokens, counted in whole buckets.
    """

    max_rows: int = 32
    max_waiting_rows: int = 1024
    bucket_tokens: int = 8
    max_padding: float = 0.25

    def __post_init__(self) -> None:
        """Refuse limits under which nothing could run."""
        for name in ("max_rows", "max_waiting_rows", "bucket_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.max_padding < 1:
            raise ValueError(f"max_padding is a share of the batch, from 0 to below 1; got {self.max_padding}")

    def bucket(self, length: int) -> int:
        """Return the bucket that a row of ``length`` tokens falls into.

        >>> [Limits(bucket_tokens=8).bucket(length) for length in (1, 8, 9, 120)]
        [1, 1, 2, 15]
        """
        return max(1, -(-length // self.bucket_tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision(Generic[RowT]):
    """What to do now: run ``leave`` as one batch (empty: wait for rows), and refuse ``expired``, whose time is up."""

    leave: tuple[RowT, ...] = ()
    expired: tuple[RowT, ...] = ()


def decide(queues: Iterable[Collection[RowT]], now_s: float, limits: Limits) -> Decision[RowT]:
    """Choose the next batch: the oldest row of all, and what fits beside it.

    The oldest row always leaves, so nothing starves. Only rows of its queue can leave with it; a row that does not
    fit closes nothing, it waits for a later batch.

    Args:
        queues: the waiting rows, one queue for each root of the plan, each with its oldest row first.
        now_s: the time, by the clock that stamped the rows.
        limits: what bounds the batch.

    Returns:
        The rows to run and the rows to refuse; no row is in both.
    """
    expired: list[RowT] = []
    oldest_queue: list[RowT] = []
    for queue in queues:
        alive = [row for row in queue if row.deadline_s > now_s]
        if len(alive) < len(queue):
            expired.extend(row for row in queue if row.deadline_s <= now_s)
        if alive and (not oldest_queue or alive[0].arrived_s < oldest_queue[0].arrived_s):
            oldest_queue = alive
    return Decision(leave=_fill(oldest_queue, limits), expired=tuple(expired))


def _fill(queue: list[RowT], limits: Limits) -> tuple[RowT, ...]:
    """Return the first row of ``queue``, then its bucket from old to new, then shorter rows from long to short."""
    if len(queue) < 2:
        return tuple(queue)
    widest = limits.bucket(queue[0].length)
    batch: list[RowT] = []
    shorter: list[tuple[int, RowT]] = []
    for row in queue:
        bucket = limits.bucket(row.length)
        if bucket == widest:
            batch.append(row)
            if len(batch) == limits.max_rows:
                return tuple(batch)
        elif bucket < widest:
            shorter.append((bucket, row))
    shorter.sort(key=lambda pair: -pair[0])  # a stable sort: equally long rows stay oldest first
    return (*batch, *_that_fit(shorter[: limits.max_rows - len(batch)], widest, len(batch), limits.max_padding))


def _that_fit(shorter: list[tuple[int, RowT]], widest: int, taken: int, max_padding: float) -> list[RowT]:
    """Return the first of ``shorter`` (bucket, row) that ``taken`` rows of bucket ``widest`` can bear beside them."""
    joined: list[RowT] = []
    padding = 0
    for bucket, row in shorter:
        padding += widest - bucket
        if padding > max_padding * widest * (taken + len(joined) + 1):
            break
        joined.append(row)
    return joined
