"""Identical inputs in flight run once, and everybody who asked is answered."""

import asyncio
from typing import Any

import pytest

from serving.batching import Limits
from serving.engine import Engine
from serving.errors import DeadlineExceeded, Overloaded, StageFailed
from serving.plan import ServedVersion
from tests.support.fake_runtime import FakeRuntime, row
from tests.support.running_engine import (
    ELSEWHERE,
    INTENT,
    TAG,
    URGENCY,
    assert_answer,
    busy,
    entered,
    outcome_of,
    run,
    running,
    waiting,
)
from tests.support.submitting import submit
from zoo.preprocessing import Row

MEBIBYTE = 1024 * 1024


def ask(
    engine: Engine, ids: tuple[int, ...], *versions: ServedVersion, deadline: float | None = None
) -> "asyncio.Task[Any]":
    return asyncio.create_task(submit(engine, row(*ids), versions, deadline=deadline))


def runs_of(runtime: FakeRuntime, stage: str) -> list[int]:
    """Return the rows of each run of a stage, but for the one that kept the device busy."""
    return [rows for name, rows in runtime.calls if name == stage]


async def turns() -> None:
    """Let tasks that can go on do so."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_identical_rows_that_wait_run_as_one_row() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            answers = await asyncio.gather(*(ask(engine, (1, 2), INTENT) for _ in range(20)))
            for answer in answers:
                assert_answer(answer, INTENT, [1, 2])
            assert runs_of(runtime, "body/0") == [1]

    run(scenario())


def test_identical_rows_of_one_request_run_as_one_row_and_are_answered_in_order() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            ids = [1, 2, 1, 1, 3, 2]
            answers = await engine.submit_all([row(each) for each in ids], [INTENT, ELSEWHERE], loaded=engine.loaded)
            for answer, each in zip(answers, ids, strict=True):
                assert_answer(answer, INTENT, [each])
                assert_answer(answer, ELSEWHERE, [each])
            assert runs_of(runtime, "body/0") == [3]

    run(scenario())


def test_a_row_without_a_digest_is_like_no_other() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            known = row(1, 2)
            nameless = Row(tensors=known.tensors, length=known.length, digest="")
            await asyncio.gather(*(submit(engine, nameless, [INTENT]) for _ in range(3)))
            assert runs_of(runtime, "body/0") == [3]

    run(scenario())


def test_with_sharing_off_identical_rows_run_each_for_itself() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, share=False) as engine:
            await asyncio.gather(*(ask(engine, (1,), INTENT) for _ in range(3)))
            assert runs_of(runtime, "body/0") == [3]

    run(scenario())


def test_who_wants_another_head_joins_the_row_that_waits_and_the_body_runs_once() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                tasks = [ask(engine, (1, 2), *versions) for versions in ([INTENT], [URGENCY, TAG], [TAG])]
                await turns()
                assert engine.waiting_rows == 1
            for task, versions in zip(tasks, ([INTENT], [URGENCY, TAG], [TAG]), strict=True):
                answers = await task
                assert answers.keys() == {version.digest for version in versions}
                for version in versions:
                    assert_answer(answers, version, [1, 2])
        assert runs_of(runtime, "body/0") == [1, 1]
        assert runs_of(runtime, "tag") == [1]

    run(scenario())


def test_who_wants_no_more_than_a_running_row_brings_joins_it() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            runtime.released.clear()
            first = ask(engine, (5,), INTENT, TAG)
            await entered(runtime)
            second = ask(engine, (5,), TAG)
            await turns()
            assert engine.waiting_rows == 0
            runtime.released.set()
            assert (await second).keys() == {TAG.digest}
            assert_answer(await second, TAG, [5])
            assert_answer(await first, INTENT, [5])
        assert runs_of(runtime, "body/0") == [1]

    run(scenario())


@pytest.mark.parametrize("cache_bytes", [0, MEBIBYTE])
def test_who_wants_more_than_a_running_row_brings_is_answered_after_it(cache_bytes: int) -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=cache_bytes) as engine:
            runtime.released.clear()
            first = ask(engine, (5,), INTENT)
            await entered(runtime)
            late = [ask(engine, (5,), URGENCY) for _ in range(3)]
            await turns()
            assert engine.waiting_rows == (0 if cache_bytes else 1)
            runtime.released.set()
            for each in late:
                assert_answer(await each, URGENCY, [5])
            assert_answer(await first, INTENT, [5])
        assert runs_of(runtime, "urgency") == [1]

    run(scenario())


def test_rows_that_wait_for_a_running_one_are_answered_though_the_server_stops() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=MEBIBYTE) as engine:
            runtime.released.clear()
            first = ask(engine, (5,), INTENT)
            await entered(runtime)
            late = ask(engine, (5,), URGENCY)
            await turns()
            closing = asyncio.create_task(engine.close())
            await turns()
            runtime.released.set()
            await closing
            assert_answer(await first, INTENT, [5])
            assert_answer(await late, URGENCY, [5])

    run(scenario())


@pytest.mark.parametrize("leaves", [0, 1, 2])
def test_who_leaves_does_not_take_along_those_who_asked_for_the_same_row(leaves: int) -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                tasks = [ask(engine, (1,), version) for version in (INTENT, URGENCY, INTENT)]
                await turns()
                tasks[leaves].cancel()
                await turns()
                assert engine.waiting_rows == 1
            for index, (task, version) in enumerate(zip(tasks, (INTENT, URGENCY, INTENT), strict=True)):
                if index != leaves:
                    assert_answer(await task, version, [1])
            assert engine.statistics.dropped() == {}

    run(scenario())


def test_a_row_leaves_the_queue_with_the_last_who_wants_it() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine, busy(runtime, engine):
            tasks = [ask(engine, (1,), version) for version in (TAG, TAG)]
            await waiting(engine, 1)
            for task in tasks:
                task.cancel()
            await waiting(engine, 0)
        assert runs_of(runtime, "tag") == []

    run(scenario())


def test_a_row_is_as_urgent_as_the_first_deadline_and_lives_as_long_as_the_last() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        now_s = [0.0]
        async with running(runtime, clock=lambda: now_s[0]) as engine:
            async with busy(runtime, engine):
                patient = ask(engine, (1,), INTENT, deadline=50.0)
                hurried = ask(engine, (1,), INTENT, deadline=5.0)
                forever = ask(engine, (1,), INTENT)
                await waiting(engine, 1)
                now_s[0] = 6.0
            assert isinstance(await outcome_of(hurried), DeadlineExceeded)
            assert_answer(await patient, INTENT, [1])
            assert_answer(await forever, INTENT, [1])
        assert runs_of(runtime, "body/0") == [1, 1]

    run(scenario())


def test_nobody_waits_past_a_deadline_though_the_device_is_busy_for_longer() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                clock = asyncio.get_running_loop().time
                waits = ask(engine, (1,), INTENT, deadline=clock() + 0.02)
                stays = ask(engine, (1,), INTENT)
                runs = ask(engine, (999,), INTENT, deadline=clock() + 0.02)
                assert isinstance(await outcome_of(waits), DeadlineExceeded)
                assert isinstance(await outcome_of(runs), DeadlineExceeded)
                assert engine.waiting_rows == 1
            assert_answer(await stays, INTENT, [1])

    run(scenario())


def test_one_head_that_breaks_fails_those_who_asked_for_it_and_not_who_shared_the_row() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(broken={"urgency"})
        async with running(runtime) as engine:
            good, bad, other = (ask(engine, (1,), version) for version in (INTENT, URGENCY, URGENCY))
            assert_answer(await good, INTENT, [1])
            errors = [await outcome_of(bad), await outcome_of(other)]
            assert all(isinstance(error, StageFailed) for error in errors)
            assert errors[0] is not errors[1]

    run(scenario())


def test_of_several_rows_the_error_says_which_one_failed() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(broken={"urgency"})
        async with running(runtime, Limits(max_rows=1)) as engine:
            with pytest.raises(StageFailed, match=r"^Row 0 of 3: Stage 'urgency' failed"):
                await engine.submit_all([row(1), row(2), row(3)], [URGENCY], loaded=engine.loaded)

    run(scenario())


def test_a_request_that_is_refused_leaves_nothing_behind_for_others_to_join() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, Limits(max_waiting_rows=2)) as engine:
            async with busy(runtime, engine):
                waits = ask(engine, (1,), INTENT)
                await waiting(engine, 1)
                with pytest.raises(Overloaded):
                    await engine.submit_all([row(7), row(8)], [INTENT], loaded=engine.loaded)
                joins = ask(engine, (7,), INTENT)
                await waiting(engine, 2)
            assert_answer(await waits, INTENT, [1])
            assert_answer(await joins, INTENT, [7])

    run(scenario())
