"""An input that comes again runs what is not known of it, and no more."""

from collections.abc import Sequence

import pytest

from serving.engine import Engine
from serving.plan import ServedVersion
from serving.request import Trace
from tests.support.fake_runtime import FakeRuntime, loaded_plan, row, served
from tests.support.running_engine import INTENT, TAG, URGENCY, VERSIONS, assert_answer, busy, run, running
from tests.support.submitting import submit

MEBIBYTE = 1024 * 1024
NEWER = served("intent", ["body/0", "body/1", "intent+"], number=2)


async def traced(engine: Engine, ids: Sequence[int], versions: Sequence[ServedVersion]) -> Trace:
    """Ask, check the answers, and return what was noted."""
    trace = Trace()
    (answers,) = await engine.submit_all([row(*ids)], versions, loaded=engine.loaded, trace=trace)
    assert answers.keys() == {version.digest for version in versions}
    for version in versions:
        assert_answer(answers, version, ids)
    return trace


def test_an_answer_that_is_known_waits_for_nobody() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=MEBIBYTE) as engine:
            await traced(engine, [1, 2], [INTENT, TAG])
            async with busy(runtime, engine):
                trace = await traced(engine, [1, 2], [INTENT, TAG])
            assert trace.began_s == trace.ended_s == 0
            assert trace.stages == []
            assert trace.cached == 4
            counts = engine.statistics.counts()
            assert counts.heads["intent"].cache_hits == 1

    run(scenario())


def test_another_head_of_a_known_input_costs_that_head() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=MEBIBYTE) as engine:
            await traced(engine, [1, 2], [INTENT])
            runtime.calls.clear()
            trace = await traced(engine, [1, 2], [INTENT, URGENCY])
            assert runtime.calls == [("urgency", 1)]
            assert [name for name, *_ in trace.stages] == ["urgency"]
            assert engine.statistics.counts().features.hits == 1

    run(scenario())


def test_what_is_known_of_an_input_outlives_the_plan() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=MEBIBYTE) as engine:
            await traced(engine, [1, 2], [INTENT, TAG])
            runtime.calls.clear()
            engine.swap(loaded_plan([NEWER, TAG], runtime))
            await traced(engine, [1, 2], [NEWER, TAG])
            assert runtime.calls == [("intent+", 1)]

    run(scenario())


@pytest.mark.parametrize(("cache_bytes", "runs"), [(0, 2), (MEBIBYTE, 1)])
def test_without_memory_nothing_is_known(cache_bytes: int, runs: int) -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, cache_bytes=cache_bytes) as engine:
            for _ in range(2):
                assert_answer(await submit(engine, row(1), VERSIONS), TAG, [1])
            assert dict.fromkeys(runtime.calls) == dict.fromkeys(runtime.calls[: len(runtime.calls) // runs])
            assert runtime.calls.count(("body/0", 1)) == runs

    run(scenario())
