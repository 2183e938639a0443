"""Freed memory goes back to the machine."""

import ctypes
from collections.abc import Callable

__all__ = ["give_back_memory"]


def give_back_memory() -> None:
    """Return what the C library keeps of freed memory, where it can (glibc); it takes milliseconds, so in a thread.

    Without it the heap keeps the holes that the stages of an old plan left, and each swap may add to them.
    """
    _trim(0)


def _find_trim() -> Callable[[int], int]:
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):  # another C library: it returns memory by itself, or never
        return lambda _: 0
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    return trim


_trim = _find_trim()
