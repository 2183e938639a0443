"""A row in the queues, with what was worked out about it when it came."""

from collections.abc import Hashable
from typing import Generic, TypeVar

from serving.batching.rows import WaitingRow

__all__ = ["Entry", "RowT"]

RowT = TypeVar("RowT", bound=WaitingRow)


class Entry(Generic[RowT]):
    """A waiting row. Hashed by identity and without validation: one is made for every row.

    Args:
        row: what waits.
        start: where in the plan it starts; rows of one start can share a batch.
        bucket: its length in whole buckets.
        alone_s: predicted seconds of a batch that holds nothing else.
        work_s: predicted seconds of its part in the largest batch: what it costs a busy server.
    """

    __slots__ = ("alone_s", "bucket", "latest_s", "row", "start", "work_s")

    def __init__(self, row: RowT, start: Hashable, bucket: int, *, alone_s: float, work_s: float) -> None:
        self.row = row
        self.start = start
        self.bucket = bucket
        self.alone_s = alone_s
        self.work_s = work_s
        self.latest_s = row.deadline_s - alone_s
        """The last moment to begin, if its answer is to be of use."""
