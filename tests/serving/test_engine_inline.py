"""Batches that take next to no time run on the event loop."""

import asyncio
import threading

import numpy as np
import pytest

from serving.engine import Engine
from serving.errors import StageFailed, Unavailable
from serving.plan import ServedVersion
from serving.runtimes.base import DeviceTensors
from tests.support.fake_runtime import FakeRuntime, row
from tests.support.running_engine import INTENT, TAG, assert_answer, run, running
from tests.support.submitting import submit

LEARNED = 12
"""Answers after which the engine knows what its stages cost."""

LONG_S = 0.03


@pytest.fixture(autouse=True)
def brief_on_a_busy_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Call brief what a machine with other work still does in time, so that no test depends on its speed."""
    monkeypatch.setattr("serving.dispatch.BRIEF_S", LONG_S / 3)


class Threads(FakeRuntime):
    """Remembers on which thread each stage ran."""

    def run(self, name: str, tensors: DeviceTensors) -> DeviceTensors:
        self.threads = [*getattr(self, "threads", []), threading.current_thread()]
        return super().run(name, tensors)

    def ran_here(self) -> bool:
        """Return whether the last stage ran on the thread that asks."""
        return self.threads[-1] is threading.current_thread()


async def learn(engine: Engine, version: ServedVersion = TAG) -> None:
    """Ask one after another, each when a lane is idle again."""
    for number in range(LEARNED):
        await submit(engine, row(number), [version])
        await asyncio.sleep(0.002)


class Sleepy(FakeRuntime):
    """Its ``intent`` takes long, and nothing else does."""

    def run(self, name: str, tensors: DeviceTensors) -> DeviceTensors:
        self.delay_s = LONG_S if name == "intent" else 0.0
        return super().run(name, tensors)


def test_a_batch_that_is_known_to_take_next_to_no_time_runs_on_the_event_loop() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True)
        async with running(runtime) as engine:
            await submit(engine, row(0), [TAG])
            assert not runtime.ran_here(), "nothing is known of a stage that never ran"
            await learn(engine)
            assert runtime.ran_here()
            assert_answer(await submit(engine, row(1, 2, 3), [TAG]), TAG, [1, 2, 3])
            assert runtime.ran_here()

    run(scenario())


def test_a_batch_that_takes_longer_than_handing_it_over_never_holds_up_the_event_loop() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True, delay_s=LONG_S)
        async with running(runtime) as engine:
            await learn(engine)
        assert threading.current_thread() not in runtime.threads

    run(scenario())


def test_on_a_device_that_a_lane_owns_nothing_runs_on_the_event_loop() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=False)
        async with running(runtime) as engine:
            await learn(engine)
        assert threading.current_thread() not in runtime.threads

    run(scenario())


def test_a_stage_that_becomes_slow_goes_back_to_the_lanes() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True)
        async with running(runtime) as engine:
            await learn(engine)
            assert runtime.ran_here()
            runtime.delay_s = LONG_S
            await learn(engine)
            assert not runtime.ran_here()

    run(scenario())


def test_a_stage_that_fails_on_the_event_loop_fails_its_rows_and_nothing_else() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True)
        async with running(runtime) as engine:
            await learn(engine)
            runtime.broken = {"tag"}
            with pytest.raises(StageFailed):
                await submit(engine, row(1), [TAG])
            assert runtime.ran_here()
            assert_answer(await submit(engine, row(4), [INTENT]), INTENT, [4])

    run(scenario())


def test_a_bug_of_ours_on_the_event_loop_leaves_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True)
        async with running(runtime) as engine:
            await learn(engine)
            monkeypatch.setattr(engine.statistics, "record_batch", None)
            with pytest.raises(Unavailable, match="stopped on an internal error"):
                await submit(engine, row(1), [TAG])
            assert runtime.ran_here()
            await engine.wait_until_stopped()

    run(scenario())


def test_callers_at_once_all_get_their_own_answers_though_batches_wait_for_them() -> None:
    async def scenario() -> None:
        runtime = Threads(inline=True)
        async with running(runtime) as engine:

            async def caller(number: int) -> None:
                for turn in range(LEARNED):
                    assert_answer(await submit(engine, row(number, turn), [TAG]), TAG, [number, turn])

            await asyncio.gather(*(caller(number) for number in range(16)))
            sizes = [rows for name, rows in runtime.calls if name == "tag"]
            assert np.mean(sizes[-20:]) > 4

    run(scenario())


def test_a_row_that_takes_long_ends_the_wait_of_what_is_brief(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        runtime = Sleepy(inline=True)
        async with running(runtime) as engine:
            await learn(engine, INTENT)
            await learn(engine)
            monkeypatch.setattr("serving.batching.gathering.GATHER_S", 60)
            quick = asyncio.create_task(submit(engine, row(8), [TAG]))
            await asyncio.sleep(0.02)
            assert not quick.done()
            assert_answer(await submit(engine, row(7), [INTENT]), INTENT, [7])
            assert_answer(await quick, TAG, [8])

    monkeypatch.setattr("serving.batching.gathering.LEFT_OUT", 0)
    run(scenario())
