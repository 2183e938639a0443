"""What nodes gave for inputs that were seen before, in bounded memory.

A key has three digests of full length: of the preprocessing, of the path of stages and of the raw input. So equal keys
mean equal bytes, whichever plan is loaded, and nothing ever has to be thrown out but for want of room.
"""

from collections import OrderedDict
from collections.abc import Mapping
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CacheKey", "NodeCache"]

ENTRY_BYTES = 600
"""What an entry takes besides its arrays: its key with a digest of its own, its dictionaries, its place in line."""

ARRAY_BYTES = 200
"""What an array takes besides its elements."""


class CacheKey(NamedTuple):
    """Names the outputs of one node for one input."""

    preprocessing: str
    """Digest of the declared preprocessing."""
    path: str
    """Digest of the path of stages, from the first to the node's."""
    input: str
    """Digest of the raw input; empty for an input that has none, which is never kept."""


class NodeCache:
    """Outputs by key; what was used longest ago makes room for what is new. Safe to call from every thread.

    Args:
        max_bytes: what its entries may take together, arrays, keys and overhead; 0 turns it off.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._lock = Lock()
        self._entries: OrderedDict[CacheKey, tuple[dict[str, NDArray[Any]], int]] = OrderedDict()
        self._nbytes = 0
        self._hits = 0
        self._misses = 0
        self._evictions = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def on(self) -> bool:
        """Whether it keeps anything at all."""
        return self.max_bytes > 0

    @property
    def nbytes(self) -> int:
        """What its entries take now."""
        return self._nbytes

    @property
    def hits(self) -> int:
        """How often something was asked for and there."""
        return self._hits

    @property
    def misses(self) -> int:
        """How often something was asked for and not there."""
        return self._misses

    @property
    def evictions(self) -> int:
        """How many entries had to make room."""
        return self._evictions

    def get(self, key: CacheKey, names: frozenset[str]) -> Mapping[str, NDArray[Any]]:
        """Return the arrays of an entry, which cannot be written to; nothing unless it has all of ``names``.

        An entry without one of the names (a head that was promoted since needs another tensor) counts as a miss.
        """
        if not self.max_bytes or not key.input:
            return {}
        with self._lock:
            found = self._entries.get(key)
            if found is not None and names <= found[0].keys():
                self._entries.move_to_end(key)
                self._hits += 1
                return found[0]
            self._misses += 1
            return {}

    def put(self, key: CacheKey, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep copies of ``arrays``, and whatever else the entry had; too large an entry is not kept.

        Arrays that own their memory and cannot be written to are kept as they are.
        """
        if not self.max_bytes or not key.input:
            return
        kept = {name: _frozen(array) for name, array in arrays.items()}
        with self._lock:
            before, size_before = self._entries.get(key, ({}, 0))
            kept = {**before, **kept}
            size = ENTRY_BYTES + sum(ARRAY_BYTES + array.nbytes for array in kept.values())
            if size > self.max_bytes:
                return
            self._entries[key] = (kept, size)
            self._entries.move_to_end(key)
            self._nbytes += size - size_before
            while self._nbytes > self.max_bytes:
                _, (_, freed) = self._entries.popitem(last=False)
                self._nbytes -= freed
                self._evictions += 1


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    if array.flags.owndata and not array.flags.writeable:
        return array
    copy = np.array(array, order="C")
    copy.setflags(write=False)
    return copy
