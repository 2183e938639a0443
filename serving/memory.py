"""Freed memory goes back to the machine."""

import ctypes
import gc
from collections.abc import Callable

__all__ = ["give_back_memory", "settle_memory"]


def give_back_memory() -> None:
    """Return what the C library keeps of freed memory, where it can (glibc); it takes milliseconds, so in a thread.

    Without it the heap keeps the holes that the stages of an old plan left, and each swap may add to them.
    """
    _trim(0)


def settle_memory() -> None:
    """Let the cycle collector pass over all that there is now, and look at what comes after alone.

    A plan of a thousand heads is so many objects that looking at them takes longer than a batch. What is freed, is
    freed by its reference count as before. It concerns the whole process, so it is for the one that owns it.
    """
    gc.collect()
    gc.freeze()


def _find_trim() -> Callable[[int], int]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library: it returns memory by itself, or never
        return lambda _: 0
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim


_trim = _find_trim()
