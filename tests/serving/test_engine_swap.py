"""A request pins the plan that it began with; a swap is one reference, and what nobody uses is let go."""

import asyncio
import gc
import weakref
from collections.abc import Sequence
from typing import Any

import pytest

from serving.errors import UnknownModel
from serving.plan import LoadedPlan, ServedVersion
from tests.support.fake_runtime import FakeRuntime, loaded_plan, row, served
from tests.support.running_engine import INTENT, TAG, URGENCY, VERSIONS, assert_answer, busy, run, running, waiting
from tests.support.submitting import submit

NEWER = served("intent", ["body/0", "body/1", "intent+"], number=2)
MEBIBYTE = 1024 * 1024


def plan_of(versions: Sequence[ServedVersion], runtime: FakeRuntime) -> "tuple[LoadedPlan, weakref.ref[Any]]":
    """Return a plan, and a reference to a part of it that lives exactly as long."""
    loaded = loaded_plan(versions, runtime)
    return loaded, weakref.ref(next(iter(loaded.executables.values())))


def test_a_swap_changes_what_new_requests_get() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            loaded, _ = plan_of([NEWER, TAG], runtime)
            engine.swap(loaded)
            assert engine.loaded is loaded
            assert engine.plan is loaded.plan
            assert_answer(await submit(engine, row(1), [NEWER]), NEWER, [1])
            with pytest.raises(UnknownModel):
                await submit(engine, row(1), [URGENCY])

    run(scenario())


def test_requests_in_flight_and_those_that_prepare_finish_on_the_plan_that_they_began_with() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            before = engine.loaded
            async with busy(runtime, engine):
                waits = asyncio.create_task(submit(engine, row(1), [INTENT, URGENCY]))
                await waiting(engine, 1)
                engine.swap(plan_of([NEWER], runtime)[0])
                prepared = asyncio.create_task(engine.submit_all([row(2)], [INTENT], loaded=before))
                await waiting(engine, 2)
            assert_answer(await waits, URGENCY, [1])
            assert_answer((await prepared)[0], INTENT, [2])

    run(scenario())


def test_rows_of_two_plans_share_no_batch_though_they_are_equal() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            before, (after, _) = engine.loaded, plan_of(VERSIONS, runtime)
            async with busy(runtime, engine):
                tasks = [
                    asyncio.create_task(engine.submit_all([row(1), row(2)], [TAG], loaded=loaded))
                    for loaded in (before, after, before)
                ]
                await waiting(engine, 4)
            for task in tasks:
                assert_answer((await task)[0], TAG, [1])
            assert [rows for name, rows in runtime.calls if name == "tag"] == [2, 2]

    run(scenario())


def test_an_old_plan_is_let_go_when_its_last_request_is_done() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=MEBIBYTE) as engine:
            loaded, alive = plan_of(VERSIONS, runtime)
            engine.swap(loaded)
            del loaded
            async with busy(runtime, engine):
                waits = [asyncio.create_task(submit(engine, row(1), [INTENT])) for _ in range(3)]
                await waiting(engine, 1)
                engine.swap(plan_of([NEWER], runtime)[0])
                waits[0].cancel()
                gc.collect()
                assert alive() is not None
            await asyncio.gather(*waits, return_exceptions=True)
            await submit(engine, row(1), [NEWER])
            del waits
            gc.collect()
            assert alive() is None

    run(scenario())


def test_an_old_plan_that_nobody_uses_is_let_go_at_once() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            loaded, alive = plan_of(VERSIONS, runtime)
            engine.swap(loaded)
            await submit(engine, row(1), [INTENT])
            del loaded
            engine.swap(plan_of([NEWER], runtime)[0])
            await engine.run_on_device(lambda: None)
            gc.collect()
            assert alive() is None

    run(scenario())


def test_a_plan_that_only_a_late_request_used_is_let_go_after_it() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            loaded, alive = plan_of(VERSIONS, runtime)
            (answer,) = await engine.submit_all([row(1)], [INTENT], loaded=loaded)
            assert_answer(answer, INTENT, [1])
            with pytest.raises(UnknownModel):
                await engine.submit_all([row(1)], [NEWER], loaded=loaded)
            del loaded
            await engine.run_on_device(lambda: None)
            gc.collect()
            assert alive() is None

    run(scenario())


def test_a_hundred_swaps_under_load_lose_no_answer() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2)
        async with running(runtime) as engine:
            done = [False]

            async def load(caller: int) -> int:
                turn = 0
                while not done[0]:
                    loaded = engine.loaded
                    version, *_ = loaded.plan.resolve("intent")
                    await asyncio.sleep(0)
                    ids = [caller % 3, turn]
                    (answer,) = await engine.submit_all([row(*ids)], [version], loaded=loaded)
                    assert_answer(answer, version, ids)
                    turn += 1
                return turn

            callers = [asyncio.create_task(load(caller)) for caller in range(8)]
            for index in range(100):
                engine.swap(plan_of([(INTENT, NEWER)[index % 2]], runtime)[0])
                await asyncio.sleep(0)
            done[0] = True
            assert all(turns > 0 for turns in await asyncio.gather(*callers))

    run(scenario())
