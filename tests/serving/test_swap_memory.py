"""What a plan that is served no more leaves in memory: nothing. Real ONNX Runtime, a real engine, real promotions."""

import asyncio
import time
from functools import partial
from pathlib import Path

from serving.engine import Engine
from serving.loader import empty_plan, load_plan
from serving.watching import PlanWatcher
from tests.support.bulky_head import PRIVATE_BYTES, publish_bulky
from tests.support.recording_runtime import Recording
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo

SWAPS = 200


def resident_bytes() -> int:
    """Return how much memory this process holds."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096


async def swap_and_ask(tiny: TinyZoo, zoo: Zoo) -> tuple[int, int]:
    """Swap between two versions, asking after each swap; return the memory held after a tenth of them and after all."""
    runtime = Recording()
    engine = Engine(empty_plan(), runtime, cache_bytes=0)
    engine.start()
    watcher = PlanWatcher(zoo.newest_promotion, partial(load_plan, zoo, runtime), engine, runtime, clock=time.monotonic)
    await watcher.begin()
    early = 0
    for swap in range(SWAPS):
        zoo.promote([Move("bulky", "prod", 1 + swap % 2)], by="a test", reason="to and fro")
        await watcher.look()
        served, _, epoch = engine.plan.resolve("bulky")
        assert (served.number, epoch) == (1 + swap % 2, 3 + swap)
        row = tiny.row(f"order {swap}")
        await engine.submit_all([row], [served], loaded=engine.loaded)
        if swap == SWAPS // 10:
            early = resident_bytes()
    late = resident_bytes()
    assert runtime.loaded.count("bulky/tail") >= SWAPS, "each swap loaded the private stage anew"
    watcher.close()
    await engine.close()
    return early, late


def test_memory_does_not_grow_with_the_number_of_swaps(tmp_path: Path) -> None:
    tiny = make_tiny_zoo(tmp_path / "zoo", ["intent"])
    with Zoo.open(tiny.folder) as zoo:
        for seed in (0, 1):
            publish_bulky(tiny, zoo, seed)
        early, late = asyncio.run(swap_and_ask(tiny, zoo))
    assert late - early < PRIVATE_BYTES * SWAPS / 10, "less than a private stage in ten swaps"
