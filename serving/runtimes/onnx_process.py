"""What all ONNX Runtime sessions of a process share: one pool of threads, and one arena of host memory.

Threads: with a pool each, the idle pools spin against the one that works, and a path of several stages took 2 to 4
times as long. The shared pool spins as well, for about 30 ms after each run, and Python has no switch for it
(``allow_spinning`` and ``force_spinning_stop`` only reach a session's own pool). On two cores it is worth it: pools of
their own that do not spin cost 10 to 25 % more on single rows of MiniLM. A machine that serves now and then, beside
other work, is better off with one thread. Once the shared pool is there, ONNX Runtime refuses every session of the
process that wants a pool of its own.

Memory: an arena keeps what the largest batch needed. With an arena each, MiniLM in three stages kept 256 MiB after 16
rows of 128 tokens; with one for all 91 MiB, at the same speed, since only one stage runs at a time.
"""

from threading import Lock
from typing import Final

import onnxruntime
from onnxruntime import OrtAllocatorType, OrtMemoryInfo, OrtMemType

from zoo.errors import InvalidConfig

__all__ = ["share_process"]

_LOCK: Final = Lock()
_POOLS: Final[list[int]] = []
"""The size of the pool, once there is one; ONNX Runtime makes it once and never resizes it."""


def share_process(threads: int) -> None:
    """Have the pool, with as many threads, and the arena; called before the first session.

    Raises:
        InvalidConfig: the pool has another number of threads already, or ``threads`` is not positive.
    """
    if threads < 1:
        raise InvalidConfig(f"At least one thread computes; got {threads}.")
    with _LOCK:
        if not _POOLS:
            _create_pool(threads)
            _create_arena()
            _POOLS.append(threads)
    if [threads] != _POOLS:
        raise InvalidConfig(
            f"ONNX Runtime has one pool of threads per process, and it has {_POOLS[0]}; got a request for {threads}. "
            "Open every onnx runtime of a process with the same number."
        )


def _create_pool(threads: int) -> None:
    try:
        onnxruntime.set_global_thread_pool_sizes(threads, 1)
    except Exception as error:
        # Other code of this process had its pool made before; that one is shared then, whatever its size.
        if "already been created" not in str(error):
            raise


def _create_arena() -> None:
    memory = OrtMemoryInfo("Cpu", OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, OrtMemType.DEFAULT)
    onnxruntime.create_and_register_allocator(memory, None)
