"""How many cores this process may use: what a container allows, not what the machine has."""

import os
from pathlib import Path

__all__ = ["usable_cores"]

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


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
