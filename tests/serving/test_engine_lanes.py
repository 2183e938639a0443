"""Batches side by side, jobs between two of them, and what the engine says of both."""

import asyncio
import os
import sys
import threading
import time

import pytest

from serving.batching import Limits
from serving.engine import Engine
from serving.errors import Unavailable
from serving.request import Trace
from serving.runtimes.cores import NICENESS
from tests.support.fake_runtime import FakeRuntime, loaded_plan, row
from tests.support.running_engine import (
    INTENT,
    TAG,
    URGENCY,
    VERSIONS,
    assert_answer,
    busy,
    entered,
    outcome_of,
    run,
    running,
    waiting,
)
from tests.support.submitting import submit


def test_two_lanes_run_two_batches_side_by_side() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2)
        async with running(runtime) as engine:
            runtime.released.clear()
            first = asyncio.create_task(submit(engine, row(1), [INTENT]))
            await entered(runtime)
            second = asyncio.create_task(submit(engine, row(2), [INTENT]))
            await entered(runtime)
            third = asyncio.create_task(submit(engine, row(3), [INTENT]))
            await waiting(engine, 1)
            runtime.released.set()
            for task, ids in ((first, [1]), (second, [2]), (third, [3])):
                assert_answer(await task, INTENT, ids)

    run(scenario())


def test_what_one_batch_leaves_an_idle_lane_takes_at_once() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2)
        async with running(runtime, Limits(max_rows=1)) as engine:
            runtime.released.clear()
            both = asyncio.gather(*(submit(engine, row(index), [INTENT]) for index in (1, 2)))
            await entered(runtime)
            await entered(runtime)
            runtime.released.set()
            await both

    run(scenario())


def test_every_lane_ends_when_the_engine_closes_and_what_waits_is_answered_first() -> None:
    others = set(threading.enumerate())

    async def scenario() -> None:
        runtime = FakeRuntime(lanes=3)
        async with running(runtime, Limits(max_rows=1)) as engine:
            tasks = [asyncio.create_task(submit(engine, row(index), [INTENT])) for index in range(9)]
            await asyncio.sleep(0)
            await engine.close()
            for index, task in enumerate(tasks):
                assert_answer(await task, INTENT, [index])
        ours = set(threading.enumerate()) - others
        assert not [each for each in ours if each.name.startswith("hydrazoo-device")]

    run(scenario())


def test_one_lane_that_breaks_stops_the_engine_and_what_runs_in_the_other_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    breaks = [False]

    def clock() -> float:
        if breaks[0] and threading.current_thread() is not threading.main_thread():
            breaks[0] = False
            raise RuntimeError("the fake clock stopped")
        return 1.0

    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2)
        async with running(runtime, clock=clock) as engine:
            runtime.released.clear()
            first = asyncio.create_task(submit(engine, row(1), [INTENT]))
            await entered(runtime)
            breaks[0] = True
            with pytest.raises(Unavailable, match="internal error"):
                await submit(engine, row(2), [INTENT])
            assert not engine.ready
            with pytest.raises(Unavailable):
                await submit(engine, row(3), [INTENT])
            runtime.released.set()
            assert_answer(await first, INTENT, [1])
            await engine.wait_until_stopped()

    run(scenario())
    assert "the fake clock stopped" in caplog.text


def test_a_job_runs_on_a_lane_and_its_result_comes_back() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime()) as engine:
            name = await engine.run_on_device(lambda: threading.current_thread().name)
            assert name == "hydrazoo-device-0"

    run(scenario())


def test_a_job_that_fails_raises_its_error_where_it_is_awaited_and_the_engine_goes_on() -> None:
    def fails() -> None:
        raise ValueError("no warm-up")

    async def scenario() -> None:
        async with running(FakeRuntime()) as engine:
            with pytest.raises(ValueError, match="no warm-up"):
                await engine.run_on_device(fails)
            assert_answer(await submit(engine, row(1), [INTENT]), INTENT, [1])

    run(scenario())


def test_a_job_waits_for_the_batch_that_runs_and_not_for_those_that_wait() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, Limits(max_rows=1)) as engine:
            async with busy(runtime, engine):
                waits = [asyncio.create_task(submit(engine, row(index), [TAG])) for index in range(3)]
                await waiting(engine, 3)
                job = asyncio.create_task(engine.run_on_device(lambda: len(runtime.calls)))
                await asyncio.sleep(0)
            assert await job == 3  # the three stages of the batch that ran
            await asyncio.gather(*waits)

    run(scenario())


def test_between_two_jobs_a_batch_runs() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, Limits(max_rows=1)) as engine:
            async with busy(runtime, engine):
                waits = [asyncio.create_task(submit(engine, row(index), [TAG])) for index in range(3)]
                await waiting(engine, 3)
                jobs = [asyncio.create_task(engine.run_on_device(lambda: len(runtime.calls))) for _ in range(3)]
                await asyncio.sleep(0)
            assert [await job for job in jobs] == [3, 5, 7]
            await asyncio.gather(*waits)

    run(scenario())


def test_while_one_lane_runs_a_job_the_others_answer_and_take_no_second_job() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2)
        async with running(runtime) as engine:
            goes_on = threading.Event()
            began: list[int] = []

            def job() -> None:
                began.append(1)
                assert goes_on.wait(10)

            jobs = [asyncio.create_task(engine.run_on_device(job)) for _ in range(2)]
            for index in range(20):
                assert_answer(await submit(engine, row(index), [INTENT]), INTENT, [index])
            assert began == [1]
            goes_on.set()
            await asyncio.gather(*jobs)

    run(scenario())


def test_jobs_run_while_load_goes_on() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(lanes=2), Limits(max_rows=2)) as engine:

            async def load(caller: int) -> None:
                for turn in range(20):
                    ids = [caller, turn]
                    assert_answer(await submit(engine, row(*ids), [URGENCY]), URGENCY, ids)

            async def jobs() -> list[int]:
                return [await engine.run_on_device(lambda: 1) for _ in range(20)]

            *_, done = await asyncio.gather(*(load(caller) for caller in range(8)), jobs())
            assert done == [1] * 20

    run(scenario())


def test_whoever_stops_waiting_for_a_job_that_has_not_begun_takes_it_back() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        ran: list[int] = []
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                job = asyncio.create_task(engine.run_on_device(lambda: ran.append(1)))
                await asyncio.sleep(0)
                job.cancel()
                assert isinstance(await outcome_of(job), asyncio.CancelledError)
            assert await engine.run_on_device(lambda: 2) == 2
        assert ran == []

    run(scenario())


def test_an_engine_that_closes_refuses_the_jobs_that_have_not_begun() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                job = asyncio.create_task(engine.run_on_device(lambda: 1))
                await asyncio.sleep(0)
                closing = asyncio.create_task(engine.close())
                with pytest.raises(Unavailable, match="stopping"):
                    await job
                with pytest.raises(Unavailable, match="stopping"):
                    await engine.run_on_device(lambda: 1)
            await closing

    run(scenario())


def test_an_engine_that_has_not_started_takes_no_job_and_has_no_room() -> None:
    async def scenario() -> None:
        engine = Engine(loaded_plan(VERSIONS, FakeRuntime()), FakeRuntime())
        with pytest.raises(Unavailable, match="loading"):
            await engine.run_on_device(lambda: 1)
        with pytest.raises(Unavailable, match="loading"):
            engine.check_room([INTENT], 1, None)

    run(scenario())


def test_a_trace_tells_when_what_happened() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            trace = Trace()
            async with busy(runtime, engine):
                before_s = time.monotonic()
                tasks = [
                    asyncio.create_task(
                        engine.submit_all([row(1), row(2)], [INTENT], loaded=engine.loaded, trace=trace)
                    ),
                    asyncio.create_task(engine.submit_all([row(3)], [TAG], loaded=engine.loaded)),
                ]
                await waiting(engine, 3)
            await asyncio.gather(*tasks)
            assert [name for name, *_ in trace.stages] == ["body/0", "body/1", "intent"] * 2
            times = [time_s for _, *both in trace.stages[:3] for time_s in both]
            assert [before_s, trace.queued_s, trace.began_s, *times, trace.ended_s] == sorted(
                [before_s, trace.queued_s, trace.began_s, *times, trace.ended_s]
            )
            assert trace.batch_rows == 3

    run(scenario())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a niceness for each thread")
def test_lanes_stand_back_behind_the_event_loop_that_refuses_what_is_too_much() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(lanes=2)) as engine:
            lane = await engine.run_on_device(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            assert lane == min(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) + NICENESS, 19)

    run(scenario())
