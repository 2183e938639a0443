"""Memory that a lane collates its batches in, over and over."""

import threading
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["LaneBuffers"]


class LaneBuffers(threading.local):
    """Arrays for one batch at a time: what a thread got for a name is overwritten by its next array of that name.

    Each thread has buffers of its own, one a name. They grow to twice their size when they have to, and never shrink.
    So nothing that outlives the batch may refer to them: answers and cache entries are copies.
    """

    def __init__(self) -> None:
        super().__init__()
        self._flat: dict[str, NDArray[np.uint8]] = {}

    def __call__(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return a contiguous array of this thread for ``name``; see ``zoo.preprocessing.batch.Allocate``."""
        size = prod(shape) * dtype.itemsize
        flat = self._flat.get(name)
        if flat is None or flat.nbytes < size:
            flat = np.empty(max(size, 2 * flat.nbytes if flat is not None else 0), np.uint8)
            self._flat[name] = flat
        return flat[:size].view(dtype).reshape(shape)
