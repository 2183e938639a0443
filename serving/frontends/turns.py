"""Several processes that write to one stream, each line whole."""

import fcntl
from collections.abc import Callable
from contextlib import suppress

__all__ = ["in_turn"]


def in_turn(descriptor: int, write: Callable[[bytes], None]) -> Callable[[bytes], None]:
    """Return ``write``, but one process at a time.

    A pipe takes 4096 bytes as a whole and tears what is longer; many lines are written at once. The lock is the
    stream's own: nothing has to be handed around, and the kernel frees it when a process dies.

    Args:
        descriptor: the stream that all of them write to.
        write: writes to it.
    """

    def locked(data: bytes) -> None:
        with suppress(OSError):  # a stream without locks is written to as it comes
            fcntl.lockf(descriptor, fcntl.LOCK_EX)
        try:
            write(data)
        finally:
            with suppress(OSError):
                fcntl.lockf(descriptor, fcntl.LOCK_UN)

    return locked
