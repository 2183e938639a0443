"""The rows that wait: one queue for each root of the plan, each with its oldest row first."""

from collections.abc import Collection, Hashable, Iterable, Iterator
from typing import Generic, TypeVar

__all__ = ["Queues"]

RowT = TypeVar("RowT", bound=Hashable)


class Queues(Generic[RowT]):
    """Waiting rows by root. Not thread-safe: the engine holds its lock around every call.

    A queue is a dict whose keys are its rows, because that is a set that keeps its order: a caller who
    leaves takes a row out of the middle as cheaply as the policy takes one from the front.
    """

    def __init__(self) -> None:
        self._by_root: dict[Hashable, dict[RowT, None]] = {}
        self._root_of: dict[RowT, Hashable] = {}

    def __len__(self) -> int:
        return len(self._root_of)

    def __iter__(self) -> Iterator[Collection[RowT]]:
        return iter(self._by_root.values())

    def add(self, root: Hashable, row: RowT) -> None:
        """Queue a row as the newest of its root."""
        self._by_root.setdefault(root, {})[row] = None
        self._root_of[row] = root

    def discard(self, rows: Iterable[RowT]) -> None:
        """Take rows out; one that no longer waits is passed over."""
        for row in rows:
            if row not in self._root_of:
                continue
            root = self._root_of.pop(row)
            queue = self._by_root[root]
            del queue[row]
            if not queue:
                del self._by_root[root]

    def clear(self) -> list[RowT]:
        """Take every row out, and return them."""
        rows = list(self._root_of)
        self._by_root.clear()
        self._root_of.clear()
        return rows
