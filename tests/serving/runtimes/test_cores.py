"""How many cores a process may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.runtimes.cores import usable_cores

ALLOWED = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


@pytest.mark.parametrize(
    ("limit", "cores"),
    [("max 100000", ALLOWED), ("50000 100000", 1), ("100000 100000", 1), ("99900000 100000", ALLOWED)],
)
def test_a_containers_limit_bounds_the_cores(tmp_path: Path, limit: str, cores: int) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text(limit + "\n")
    assert usable_cores(quota) == cores


def test_part_of_a_core_counts_as_one(tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    quota.write_text("110000 100000\n")
    assert usable_cores(quota) == min(2, ALLOWED or 1)


@pytest.mark.parametrize("content", [None, "", "nonsense"])
def test_without_a_readable_limit_the_affinity_counts(tmp_path: Path, content: str | None) -> None:
    quota = tmp_path / "cpu.max"
    if content is not None:
        quota.write_text(content)
    assert usable_cores(quota) == ALLOWED


STARTED_NICE = """
import os, sys, threading
from serving.runtimes.cores import step_back

def compute() -> None:
    step_back()
    step_back()
    print(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

os.nice(int(sys.argv[1]) - os.getpriority(os.PRIO_PROCESS, 0))
thread = threading.Thread(target=compute)
thread.start()
thread.join()
print(os.getpriority(os.PRIO_PROCESS, os.getpid()))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
@pytest.mark.parametrize("more", [0, 3, 15])
def test_threads_that_compute_stand_back_however_nice_the_process_was_started(more: int) -> None:
    niceness = min(os.getpriority(os.PRIO_PROCESS, 0) + more, 19)
    done = subprocess.run([sys.executable, "-c", STARTED_NICE, str(niceness)], capture_output=True, text=True)
    assert done.stdout.split() == [str(min(niceness + 10, 19)), str(niceness)], done.stderr
