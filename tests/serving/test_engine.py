import asyncio
import threading
from collections.abc import Hashable, Mapping

import pytest

from serving.batching import Limits, WaitingRow
from serving.engine import Engine
from serving.errors import (
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    ServingError,
    StageFailed,
    Unavailable,
    UnknownModel,
)
from serving.plan import ServedVersion
from tests.support.fake_runtime import FakeRuntime, loaded_plan, row, served
from tests.support.running_engine import (
    ELSEWHERE,
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


def test_a_row_gets_the_answer_of_every_head_that_was_asked() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime()) as engine:
            answers = await submit(engine, row(1, 2, 3), VERSIONS)
            assert answers.keys() == {version.digest for version in VERSIONS}
            for version in VERSIONS:
                assert_answer(answers, version, [1, 2, 3])

    run(scenario())


def test_64_concurrent_callers_each_get_their_own_answer_whatever_they_share_a_batch_with() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(), Limits(max_rows=16)) as engine:
            texts = [[index + token for token in range(1 + index * 7 % 40)] for index in range(64)]
            asked = [VERSIONS[index % 4 : index % 4 + 1 + index % 3] for index in range(64)]
            answers = await asyncio.gather(
                *(submit(engine, row(*ids), versions) for ids, versions in zip(texts, asked, strict=True))
            )
            for answer, ids, versions in zip(answers, texts, asked, strict=True):
                assert answer.keys() == {version.digest for version in versions}
                for version in versions:
                    assert_answer(answer, version, ids)

    run(scenario())


def test_rows_that_came_while_the_device_was_busy_leave_as_one_batch() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                rest = [asyncio.create_task(submit(engine, row(index), [URGENCY])) for index in range(5)]
                await waiting(engine, 5)
            await asyncio.gather(*rest)
        assert ("urgency", 5) in runtime.calls

    run(scenario())


def test_rows_submitted_in_one_turn_of_the_loop_leave_together_though_the_device_is_idle() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            await asyncio.sleep(0.01)
            await asyncio.gather(*(submit(engine, row(index), [INTENT]) for index in range(6)))
        assert ("body/0", 6) in runtime.calls

    run(scenario())


def test_a_mixed_batch_runs_the_shared_prefix_once_and_the_statistics_show_it() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            (route,) = engine.plan.routes([INTENT, URGENCY])
            shared, head = route.paths[0], route.paths[2]
            await engine.submit_all([row(1), row(2), row(3)], [INTENT, URGENCY], loaded=engine.loaded)
            runs = engine.statistics.stage_runs(shared)
            assert (runs.runs, runs.rows) == (1, 3)
            async with busy(runtime, engine):
                rest = [
                    asyncio.create_task(submit(engine, row(7 + index), [version]))
                    for index, version in enumerate((INTENT, URGENCY))
                ]
                await waiting(engine, 2)
            await asyncio.gather(*rest)
            assert engine.statistics.stage_runs(shared).runs == 3
            assert engine.statistics.stage_runs(head).rows == 5

    run(scenario())


def test_several_rows_of_one_call_come_back_in_order() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(), Limits(max_rows=3)) as engine:
            answers = await engine.submit_all(
                [row(index) for index in range(10)], [INTENT, ELSEWHERE], loaded=engine.loaded
            )
            for index, answer in enumerate(answers):
                assert_answer(answer, INTENT, [index])
                assert_answer(answer, ELSEWHERE, [index])

    run(scenario())


def test_a_caller_who_leaves_takes_its_row_out_of_the_queue_before_it_costs_anything() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                leaves = asyncio.create_task(submit(engine, row(1, 2), [URGENCY]))
                stays = asyncio.create_task(submit(engine, row(3), [TAG]))
                await waiting(engine, 2)
                leaves.cancel()
                await waiting(engine, 1)
            assert_answer(await stays, TAG, [3])
            assert isinstance(await outcome_of(leaves), asyncio.CancelledError)
            assert engine.statistics.dropped() == {"withdrawn": 1}
        assert "urgency" not in dict(runtime.calls)

    run(scenario())


def test_a_caller_who_leaves_a_running_batch_disturbs_nobody() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            runtime.released.clear()
            leaves, stays = [asyncio.create_task(submit(engine, row(index), [INTENT])) for index in (1, 2)]
            await entered(runtime)
            leaves.cancel()
            await asyncio.sleep(0)
            runtime.released.set()
            assert_answer(await stays, INTENT, [2])

    run(scenario())


def test_a_deadline_that_has_passed_is_refused_at_once() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, clock=lambda: 10.0) as engine:
            with pytest.raises(DeadlineExceeded, match="allow more time"):
                await submit(engine, row(1), [INTENT], deadline=10.0)
            assert engine.statistics.dropped() == {"expired": 1}
        assert runtime.calls == []

    run(scenario())


def test_a_deadline_that_passes_in_the_queue_is_refused_without_being_run() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        now_s = [0.0]
        async with running(runtime, clock=lambda: now_s[0]) as engine:
            async with busy(runtime, engine):
                hurried = asyncio.create_task(submit(engine, row(1), [URGENCY], deadline=5.0))
                patient = asyncio.create_task(submit(engine, row(2), [TAG], deadline=50.0))
                await waiting(engine, 2)
                now_s[0] = 6.0
            assert_answer(await patient, TAG, [2])
            with pytest.raises(DeadlineExceeded, match="waited for the device"):
                await hurried
        assert "urgency" not in dict(runtime.calls)

    run(scenario())


def test_a_row_that_finds_the_queue_full_is_refused_at_once() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime, Limits(max_waiting_rows=2)) as engine:
            async with busy(runtime, engine):
                rest = [asyncio.create_task(submit(engine, row(index), [INTENT])) for index in range(2)]
                await waiting(engine, 2)
                with pytest.raises(Overloaded, match="2 rows are waiting"):
                    await submit(engine, row(9), [INTENT])
            await asyncio.gather(*rest)
            assert engine.statistics.dropped() == {"overloaded": 1}

    run(scenario())


def test_a_call_of_more_rows_than_the_queue_holds_is_told_to_split() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(), Limits(max_waiting_rows=2)) as engine:
            with pytest.raises(InvalidRequest, match="Split it"):
                await engine.submit_all([row(1), row(2), row(3)], [INTENT], loaded=engine.loaded)

    run(scenario())


def test_a_broken_stage_fails_its_rows_and_the_engine_goes_on() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(broken={"urgency"})
        async with running(runtime) as engine:
            bad, good = [asyncio.create_task(submit(engine, row(4), [version])) for version in (URGENCY, INTENT)]
            assert_answer(await good, INTENT, [4])
            assert isinstance(await outcome_of(bad), StageFailed)
            runtime.broken.clear()
            assert_answer(await submit(engine, row(5), [URGENCY]), URGENCY, [5])

    run(scenario())


def test_a_call_whose_one_row_fails_leaves_nothing_of_it_in_the_queue() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime(broken={"elsewhere"})
        async with running(runtime, Limits(max_rows=1)) as engine:
            with pytest.raises(StageFailed):
                await engine.submit_all([row(index) for index in range(8)], [ELSEWHERE], loaded=engine.loaded)
            assert engine.waiting_rows == 0

    run(scenario())


def test_an_engine_that_has_not_started_refuses_rows() -> None:
    async def scenario() -> None:
        engine = Engine(loaded_plan(VERSIONS, FakeRuntime()), FakeRuntime())
        assert not engine.ready
        with pytest.raises(Unavailable, match="loading"):
            await submit(engine, row(1), [INTENT])
        await engine.close()

    run(scenario())


def test_closing_answers_what_waits_and_refuses_what_is_new() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                queued = asyncio.create_task(submit(engine, row(2), [INTENT]))
                await waiting(engine, 1)
                closing = asyncio.create_task(engine.close())
                await asyncio.sleep(0)
                assert not engine.ready
                with pytest.raises(Unavailable, match="stopping"):
                    await submit(engine, row(3), [INTENT])
            await closing
            assert_answer(await queued, INTENT, [2])

    run(scenario())


def test_closing_refuses_what_still_waits_when_its_grace_is_over() -> None:
    async def scenario() -> None:
        runtime = FakeRuntime()
        async with running(runtime) as engine:
            async with busy(runtime, engine):
                queued = asyncio.create_task(submit(engine, row(2), [URGENCY]))
                await waiting(engine, 1)
                closing = asyncio.create_task(engine.close(grace_s=0.01))
                with pytest.raises(Unavailable, match=r"did not begin within 0\.01 s"):
                    await queued
            await closing
            assert engine.statistics.dropped() == {"refused": 1}
        assert "urgency" not in dict(runtime.calls)

    run(scenario())


def test_an_engine_that_breaks_says_so_and_leaves_nobody_waiting(caplog: pytest.LogCaptureFixture) -> None:
    stopped = [False]

    def clock() -> float:
        if stopped[0] and threading.current_thread() is not threading.main_thread():
            raise RuntimeError("the fake clock stopped")
        return 1.0

    async def scenario() -> None:
        async with running(FakeRuntime(), clock=clock) as engine:
            queued = asyncio.create_task(submit(engine, row(2), [INTENT]))
            await waiting(engine, 1)
            stopped[0] = True
            with pytest.raises(Unavailable, match="internal error"):
                await queued
            assert not engine.ready

    run(scenario())
    assert "the fake clock stopped" in caplog.text


@pytest.mark.parametrize(
    ("versions", "error"), [([], InvalidRequest), ([served("other", ["body/0", "other"])], UnknownModel)]
)
def test_a_request_that_the_plan_cannot_answer_is_refused(
    versions: list[ServedVersion], error: type[ServingError]
) -> None:
    async def scenario() -> None:
        async with running(FakeRuntime()) as engine:
            with pytest.raises(error):
                await submit(engine, row(1), versions)

    run(scenario())


def test_half_of_all_callers_leaving_at_any_moment_loses_no_answer_and_no_row() -> None:
    async def scenario() -> None:
        async with running(FakeRuntime(), Limits(max_rows=4)) as engine:
            tasks = []
            for index in range(200):
                tasks.append(asyncio.create_task(submit(engine, row(index, index), [VERSIONS[index % 4]])))
                if index % 3 == 0:
                    await asyncio.sleep(0)
                if index % 2:
                    tasks[index - index % 5].cancel()
            outcomes = await asyncio.gather(*tasks, return_exceptions=True)
            for index, outcome in enumerate(outcomes):
                if not isinstance(outcome, asyncio.CancelledError):
                    assert_answer(outcome, VERSIONS[index % 4], [index, index])
            assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) >= 100
            assert engine.waiting_rows == 0

    run(scenario())


class Kept:
    def __init__(self) -> None:
        self.rows: list[tuple[str, int]] = []
        self.prices: Mapping[str, tuple[float, float]] = {}

    def arrival(self, start: Hashable, row: WaitingRow) -> None:
        self.rows.append((row.team, row.length))

    def costs(self, costs: Mapping[str, tuple[float, float]]) -> None:
        self.prices = costs


def test_a_recorder_hears_of_each_row_that_is_queued_and_at_the_end_what_nodes_cost() -> None:
    async def scenario() -> None:
        runtime, kept = FakeRuntime(), Kept()
        engine = Engine(loaded_plan(VERSIONS, runtime), runtime, recorder=kept)
        engine.start()
        await engine.submit_all([row(1, 2), row(3)], [INTENT], loaded=engine.loaded)
        assert kept.rows == [("intent", 2), ("intent", 1)]
        await engine.close()
        assert kept.prices.keys() == {node.path for root in engine.plan.roots for node in root.node.walk()}
        assert all(fixed_s >= 0 and token_s >= 0 for fixed_s, token_s in kept.prices.values())

    run(scenario())
