"""An engine over the fake runtime, and the moments that its tests wait for."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from serving.batching import Limits
from serving.engine import Engine
from serving.plan import ServedVersion
from tests.support.fake_runtime import FakeRuntime, expected, loaded_plan, row, served
from tests.support.submitting import submit

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
TAG = served("tag", ["body/0", "tag"])
ELSEWHERE = served("elsewhere", ["body/0b", "elsewhere"])
VERSIONS = (INTENT, URGENCY, TAG, ELSEWHERE)


@asynccontextmanager
async def running(
    runtime: FakeRuntime,
    limits: Limits | None = None,
    clock: Callable[[], float] = time.monotonic,
    *,
    cache_bytes: int = 0,
    share: bool = True,
) -> AsyncIterator[Engine]:
    """Run an engine for ``VERSIONS``."""
    loaded = loaded_plan(VERSIONS, runtime)
    engine = Engine(loaded, runtime, limits, clock, cache_bytes=cache_bytes, share=share)
    engine.start()
    try:
        yield engine
    finally:
        runtime.released.set()
        await engine.close()


@asynccontextmanager
async def busy(runtime: FakeRuntime, engine: Engine) -> AsyncIterator[None]:
    """Hold the device inside a first batch, so that what is submitted meanwhile waits."""
    while runtime.entered.acquire(blocking=False):
        pass
    runtime.released.clear()
    first = asyncio.create_task(submit(engine, row(999), [INTENT]))
    await entered(runtime)
    try:
        yield
    finally:
        runtime.released.set()
        await first


async def waiting(engine: Engine, rows: int) -> None:
    """Let submitted tasks run until ``rows`` rows wait."""
    for _ in range(1000):
        if engine.waiting_rows == rows:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"{engine.waiting_rows} rows wait; expected {rows}")


async def entered(runtime: FakeRuntime) -> None:
    """Return when one more stage has begun."""
    await asyncio.to_thread(runtime.entered.acquire)


def run(test: Coroutine[Any, Any, None]) -> None:
    """Run a test, and end it if it hangs."""
    asyncio.run(asyncio.wait_for(test, 20))


async def outcome_of(task: asyncio.Task[Any]) -> object:
    """Return what a task returned, or what it raised."""
    await asyncio.wait([task])
    return asyncio.CancelledError() if task.cancelled() else task.exception() or task.result()


def assert_answer(answers: Any, version: ServedVersion, ids: Sequence[int]) -> None:
    """Check what ``version`` answered for the row of these ids."""
    (value,) = answers[version.digest].values()
    np.testing.assert_array_equal(value, expected(version, ids))
