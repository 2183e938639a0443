"""The rows that have a deadline, the most urgent first."""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from typing import Generic

from serving.batching.waiting import Entry, RowT

__all__ = ["Urgency"]

SLACK = 64
"""How many entries that wait no longer are kept before they are looked for; the tops leave at once."""


class Urgency(Generic[RowT]):
    """A heap of entries by the last moment to begin. Entries leave it lazily: a row leaves from anywhere.

    Args:
        waits: whether an entry is still in the queues.
    """

    def __init__(self, waits: Callable[[Entry[RowT]], bool]) -> None:
        self._waits = waits
        self._heap: list[tuple[float, int, Entry[RowT]]] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._heap)

    def add(self, entry: Entry[RowT]) -> None:
        """Put in an entry whose row has a deadline."""
        self._added += 1
        heappush(self._heap, (entry.latest_s, self._added, entry))

    def look(self, now_s: float) -> tuple[list[Entry[RowT]], Entry[RowT] | None]:
        """Return the entries for which it is too late at ``now_s``, and the most urgent of the others.

        It walks the top of the heap, down to where it is not too late; whatever lies below is later still.
        """
        late: list[Entry[RowT]] = []
        urgent: tuple[float, int, Entry[RowT]] | None = None
        ahead = [0] if self._heap else []
        while ahead:
            index = ahead.pop()
            item = self._heap[index]
            waits = self._waits(item[2])
            if waits and item[0] >= now_s:
                urgent = item if urgent is None else min(urgent, item)
                continue
            if waits:
                late.append(item[2])
            ahead.extend(child for child in (2 * index + 1, 2 * index + 2) if child < len(self._heap))
        return late, urgent[2] if urgent else None

    def sweep(self, waiting: int) -> None:
        """Drop entries that wait no longer: those on top, and all of them once they are more than ``waiting`` rows."""
        while self._heap and not self._waits(self._heap[0][2]):
            heappop(self._heap)
        if len(self._heap) > 2 * waiting + SLACK:
            self._heap = [item for item in self._heap if self._waits(item[2])]
            heapify(self._heap)
