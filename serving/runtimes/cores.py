"""How many cores this process may use, and which of its threads go first."""

import os
import sys
import threading
from pathlib import Path

__all__ = ["step_back", "usable_cores"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")

NICENESS = 10
"""Of threads that compute, above that of the process: where both want a core, they get about a tenth of what the event
loop gets."""

_MOST = 19


def usable_cores(quota_file: Path = _QUOTA) -> int:
    """Return the cores that this process may run on, at least 1.

    That is the smaller of its CPU affinity and, in a container with a limit, the limit rounded up. More threads than
    that would wait for each other.

    Args:
        quota_file: where Linux (cgroup v2) states the limit: microseconds of CPU per microseconds of time, or "max".
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = quota_file.read_text().split()
    except (OSError, ValueError):
        return allowed
    return allowed if quota == "max" else min(allowed, max(1, -(-int(quota) // int(period))))


def step_back() -> None:
    """Let this thread, and those that it starts from now on, compute behind the other ones of the process.

    Otherwise, under more load than can be served, stages take the cores that the event loop needs to refuse what is
    too much. On Linux each thread has a niceness of its own; elsewhere this does nothing.
    """
    if sys.platform == "linux":
        first = os.getpriority(os.PRIO_PROCESS, os.getpid())  # of the first thread, which may have been started nice
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(first + NICENESS, _MOST))
