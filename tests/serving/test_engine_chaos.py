"""Callers that come, leave and outlive their deadlines at any moment: no lost answer, no stuck queue, no leak."""

import asyncio
import gc
import random
import time
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serving.batching import Limits
from serving.engine import Engine
from serving.errors import DeadlineExceeded, Overloaded, StageFailed
from serving.flights import Flight
from serving.plan import ServedVersion
from serving.request import Claim, Request
from tests.support.fake_runtime import FakeRuntime, loaded_plan, row, served
from tests.support.running_engine import ELSEWHERE, INTENT, TAG, URGENCY, VERSIONS, assert_answer, run, running
from tests.support.submitting import submit

MEBIBYTE = 1024 * 1024
NEWER = served("intent", ["body/0", "body/1", "intent+"], number=2)


def left_over(before: Sequence[object] = ()) -> list[object]:
    """Return what engines have left in memory of their requests, but for what was there ``before``."""
    gc.collect()
    known = {id(each) for each in before}
    kinds = (Flight, Claim, Request)
    return [each for each in gc.get_objects() if type(each) in kinds and id(each) not in known]


@pytest.mark.parametrize("cache_bytes", [0, MEBIBYTE])
@pytest.mark.parametrize("lanes", [1, 3])
def test_half_of_500_callers_leaving_at_any_moment_lose_no_answer_and_leave_nothing(
    lanes: int, cache_bytes: int
) -> None:
    chance, others = random.Random(lanes), left_over()

    async def scenario() -> None:
        runtime = FakeRuntime(lanes=lanes, delay_s=0.0005)
        async with running(runtime, Limits(max_rows=4), cache_bytes=cache_bytes) as engine:

            async def call(ids: tuple[int, ...], versions: Sequence[ServedVersion]) -> None:
                await asyncio.sleep(chance.random() * 0.2)
                answers = await submit(engine, row(*ids), versions)
                assert answers.keys() == {version.digest for version in versions}
                for version in versions:
                    assert_answer(answers, version, ids)

            async def leave(task: "asyncio.Task[None]") -> None:
                await asyncio.sleep(chance.random() * 0.25)
                task.cancel()

            tasks = [
                asyncio.create_task(call((chance.randrange(60), 1), chance.sample(VERSIONS, chance.randint(1, 4))))
                for _ in range(500)
            ]
            leavers = [asyncio.create_task(leave(task)) for task in tasks[::2]]
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.gather(*leavers)
            assert [
                each for each in outcomes if each is not None and not isinstance(each, asyncio.CancelledError)
            ] == []
            assert all(each is None for each in outcomes[1::2])
            assert engine.waiting_rows == 0
            await engine.run_on_device(lambda: None)
            del tasks, leavers, outcomes
            assert left_over(others) == []

    run(scenario())


def test_callers_whose_deadlines_pass_at_any_moment_are_told_in_time_and_the_rest_answered() -> None:
    chance, others = random.Random(5), left_over()

    async def scenario() -> None:
        runtime = FakeRuntime(lanes=2, delay_s=0.001)
        async with running(runtime, Limits(max_rows=2)) as engine:

            async def call(ids: tuple[int, ...], version: ServedVersion) -> str:
                deadline = time.monotonic() + chance.random() * 0.2 if chance.random() < 0.5 else None
                try:
                    answers = await submit(engine, row(*ids), [version], deadline=deadline)
                except (DeadlineExceeded, Overloaded):  # too late, or told at once that it would be
                    assert deadline is not None
                    return "late"
                assert_answer(answers, version, ids)
                return "answered"

            calls = [call((chance.randrange(80),), chance.choice(VERSIONS)) for _ in range(400)]
            outcomes = await asyncio.gather(*calls)
            assert outcomes.count("answered") >= 150
            assert engine.waiting_rows == 0

    run(scenario())
    assert left_over(others) == []


Step = tuple[str, int, int]

steps = st.lists(
    st.tuples(st.sampled_from(["submit", "submit", "submit", "cancel", "swap", "turn", "job", "late"]))
    .map(lambda each: each[0])
    .flatmap(lambda what: st.tuples(st.just(what), st.integers(0, 5), st.integers(1, 15))),
    max_size=40,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(steps=steps, lanes=st.integers(1, 2), cached=st.booleans(), broken=st.booleans())
def test_whatever_happens_every_call_that_stays_gets_its_right_answer_once(
    steps: list[Step], lanes: int, cached: bool, broken: bool
) -> None:
    """A number of a step is a row to ask, a call to cancel; the other one, in bits, the heads."""

    async def scenario() -> None:
        runtime = FakeRuntime(lanes=lanes, broken={"urgency"} if broken else set())
        async with running(runtime, Limits(max_rows=3), cache_bytes=MEBIBYTE if cached else 0) as engine:
            calls: list[tuple[asyncio.Task[Any], list[ServedVersion], list[int]]] = []
            for what, number, bits in steps:
                await _step(engine, runtime, calls, what, number, bits)
            for task, versions, ids in calls:
                await _check(task, versions, ids, {"urgency"} if broken else set())
            assert engine.waiting_rows == 0

    run(scenario())


async def _step(engine: Engine, runtime: FakeRuntime, calls: list[Any], what: str, number: int, bits: int) -> None:
    if what in ("submit", "late"):
        intent = engine.plan.resolve("intent")[0]
        versions = [version for index, version in enumerate((intent, URGENCY, TAG, ELSEWHERE)) if bits >> index & 1]
        ids = [[number], [number, number]][: 1 + bits % 2]
        deadline = time.monotonic() + 0.002 * number if what == "late" else None
        submitted = engine.submit_all([row(*each) for each in ids], versions, loaded=engine.loaded, deadline=deadline)
        calls.append((asyncio.create_task(submitted), versions, ids))
    elif what == "cancel" and calls:
        calls[number % len(calls)][0].cancel()
    elif what == "swap":
        intent = (INTENT, NEWER)[number % 2]
        engine.swap(loaded_plan([intent, URGENCY, TAG, ELSEWHERE], runtime))
    elif what == "job":
        await engine.run_on_device(lambda: None)
    else:
        await asyncio.sleep(0.001 * (number % 2))


async def _check(task: "asyncio.Task[Any]", versions: list[ServedVersion], ids: list[Any], broken: set[str]) -> None:
    await asyncio.wait([task])
    if task.cancelled():
        return
    error = task.exception()
    if isinstance(error, StageFailed):
        assert broken & {version.head for version in versions}
        return
    if error is not None:
        assert isinstance(error, DeadlineExceeded | Overloaded)
        return
    for answers, each in zip(task.result(), ids, strict=True):
        assert answers.keys() == {version.digest for version in versions}
        for version in versions:
            assert_answer(answers, version, each)
