"""A thousand plan swaps under load: who answered, and may it?"""

import shutil
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from hydrazoo.client import Client

from benchmarks.load import LoadResult
from benchmarks.many_heads import head_names, publish_again
from benchmarks.serving.bench import Bar, Bench, Claim, Figures, Served
from zoo import Move, Zoo

__all__ = ["SWAPPED"]

SWAPS = 1000
HEAD = head_names(1)[0]
CALLERS = 16


def swapped(bench: Bench) -> Figures:
    """Move one head's alias back and forth while callers ask it."""
    folder = bench.folder / "swapped"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(bench.zoo(8), folder)
    publish_again(folder, HEAD)
    with bench.serving(folder, "--watch-s", "0.02", "--cache-mb", "0") as server:
        quiet = bench.load(server, [[HEAD]], callers=CALLERS)
        swaps = _Swaps(folder, server)
        thread = threading.Thread(target=swaps.run)
        thread.start()
        loads: list[LoadResult] = []
        while thread.is_alive():
            loads.append(bench.load(server, [[HEAD]], callers=CALLERS, seconds=10.0, warm_up=0, keep_answers=True))
        thread.join()
        after_mib = server.memory_mib
    answers = [answer for load in loads for answer in load.answers]
    statuses = [status for load in loads for status, count in load.statuses.items() for _ in range(count)]
    delays_ms = sorted(1000 * (seen - moved) for moved, seen in zip(swaps.moved_at, swaps.seen_at, strict=True))
    return {
        "swaps": len(swaps.seen_at),
        "answers": len(answers),
        "failed requests": len(statuses) - statuses.count("OK"),
        "answers of a version that its epoch did not mean": _wrong(answers, swaps.numbers),
        "answers of an old version after the swap was seen": _late(answers, swaps.seen_at, swaps.first_epoch),
        "promotion to first answer, p50 ms": delays_ms[len(delays_ms) // 2],
        "promotion to first answer, p99 ms": delays_ms[len(delays_ms) * 99 // 100],
        "p50 ms over no swaps": sorted(load.p50_ms for load in loads)[len(loads) // 2] - quiet.p50_ms,
        "MiB after 100 swaps": swaps.early_mib,
        "MiB more after all": after_mib - swaps.early_mib,
    }


class _Swaps:
    """Moves the alias, each time when the move before has shown in an answer."""

    def __init__(self, folder: Path, served: Served) -> None:
        self._folder = folder
        self._served = served
        self.first_epoch = 0
        self.moved_at: list[float] = []
        self.seen_at: list[float] = []
        self.numbers: dict[int, int] = {}
        self.early_mib = 0.0

    def run(self) -> None:
        """Move it so many times."""
        with Zoo.open(self._folder) as zoo, Client(self._served.address) as client:
            resolved = zoo.resolve(f"{HEAD}@prod")
            self.first_epoch = resolved.epoch
            self.numbers[resolved.epoch] = resolved.version.number
            for swap in range(SWAPS):
                (moved,) = zoo.promote([Move(HEAD, "prod", 2 - swap % 2)], by="benchmark", reason="swap")
                self.moved_at.append(time.time())
                self.numbers[moved.epoch] = moved.number
                while client.predict(text="seen?", heads=[HEAD])[HEAD].version.alias_epoch < moved.epoch:
                    time.sleep(0.005)
                self.seen_at.append(time.time())
                if swap == SWAPS // 10:
                    self.early_mib = self._served.memory_mib


def _wrong(answers: Sequence[tuple[float, float, str, int, int]], numbers: dict[int, int]) -> int:
    return sum(numbers[epoch] != number for _, _, _, number, epoch in answers)


def _late(answers: Sequence[tuple[float, float, str, int, int]], seen_at: Sequence[float], first_epoch: int) -> int:
    """Count answers to calls that began after a newer epoch had been seen."""
    late = 0
    for asked_at, _, _, _, epoch in answers:
        following = epoch - first_epoch
        if following < len(seen_at) and asked_at > seen_at[following]:
            late += 1
    return late


SWAPPED = Claim(
    name="swapped",
    title="A thousand plan swaps under load",
    measure=swapped,
    bars=[
        Bar(figure="swaps", least=SWAPS),
        Bar(figure="failed requests", most=0),
        Bar(figure="answers of a version that its epoch did not mean", most=0),
        Bar(figure="answers of an old version after the swap was seen", most=0),
        Bar(figure="MiB more after all", most=16),
    ],
    rounds=1,
)
