"""Threads of torch on the CPU: one at a time within an operation, several operations side by side."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

__all__ = ["one_thread", "workers"]

_MOST_WORKERS = 8


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute every operation on one thread.

    Sums then have one order on every machine. And threads that wait for each other at the end of every small
    operation lose far more than they win where other processes want the same cores.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def workers() -> int:
    """Return how many independent batches to compute side by side: one per core, or one where there is a GPU."""
    return 1 if torch.cuda.is_available() else min(_MOST_WORKERS, len(os.sched_getaffinity(0)))
