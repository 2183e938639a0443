"""An engine and a front end's way to it, both on one loop, so that either can be held still."""

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import numpy as np
import pytest

from serving.batching import Limits, Priority
from serving.engine import Engine
from serving.errors import DeadlineExceeded, Overloaded, StageFailed, Unavailable
from serving.frontends.channel import RING_BYTES, Link
from serving.frontends.desk import Desk
from serving.frontends.remote import RemoteEngine
from serving.plan import LoadedPlan
from serving.request import Trace
from tests.support.fake_runtime import FakeRuntime, expected, loaded_plan, row, served

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
TAG = served("tag", ["body/0", "tag"])
NEWER = served("intent", ["body/0", "body/1", "intent"], number=2)


@dataclass
class Both:
    """The engine, and the way to it."""

    runtime: FakeRuntime
    engine: Engine
    desk: Desk
    remote: RemoteEngine

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(10):
            while not condition():
                await asyncio.sleep(0.005)

    def swap(self, number: int, loaded: LoadedPlan) -> None:
        self.engine.swap(loaded)
        self.desk.announce(number, loaded)


def live(
    work: Callable[[Both], Awaitable[None]], *, limits: Limits | None = None, max_unsent_bytes: int = 1 << 26
) -> None:
    async def run() -> None:
        runtime = FakeRuntime()
        engine = Engine(loaded_plan([INTENT, URGENCY, TAG], runtime), runtime, limits, cache_bytes=0)
        engine.start()
        ours, theirs = Link.pair()
        desk = Desk(ours, engine, lambda: None)
        remote = RemoteEngine(theirs, _no_blob, time.monotonic, max_unsent_bytes=max_unsent_bytes)
        desk.announce(1, engine.loaded)
        try:
            await asyncio.wait_for(remote.has_plan.wait(), 10)
            await asyncio.wait_for(work(Both(runtime, engine, desk, remote)), 20)
        finally:
            runtime.released.set()
            await remote.close()
            await asyncio.wait_for(desk.ended.wait(), 10)
            await engine.close()

    asyncio.run(run())


def _no_blob(digest: str) -> bytes:
    raise AssertionError(digest)


def test_the_plan_of_a_front_end_says_what_the_engines_says() -> None:
    async def work(both: Both) -> None:
        ours, theirs = both.engine.plan, both.remote.plan
        assert [str(version) for version in theirs.versions] == [str(version) for version in ours.versions]
        assert [version.manifest for version in theirs.versions] == [version.manifest for version in ours.versions]
        for head in ("intent", "urgency", "tag"):
            assert theirs.resolve(head)[0].digest == ours.resolve(head)[0].digest
            assert theirs.resolve(head)[1:] == ours.resolve(head)[1:]
        assert both.remote.loaded.declared(theirs.versions[0]) == both.engine.loaded.declared(ours.versions[0])

    live(work)


def test_answers_are_those_of_the_engine_and_the_trace_says_when_they_were_made() -> None:
    async def work(both: Both) -> None:
        plan = both.remote.plan
        versions = [plan.resolve(head)[0] for head in ("intent", "tag")]
        rows = [row(*range(1, size)) for size in (2, 5, 9)]
        trace = Trace()
        began_s = time.monotonic()
        answers = await both.remote.submit_all(rows, versions, loaded=both.remote.loaded, trace=trace)
        for one, found in zip(rows, answers, strict=True):
            ids = one.tensors["ids_NT"].tolist()
            np.testing.assert_array_equal(found[INTENT.digest]["total_N1"], expected(INTENT, ids))
            np.testing.assert_array_equal(found[TAG.digest]["tags_NT"], expected(TAG, ids))
        assert began_s <= trace.queued_s <= trace.began_s <= trace.ended_s <= time.monotonic()
        assert {name for name, _, _ in trace.stages} >= {"body/0", "body/1", "intent", "tag"}

    live(work)


def test_a_row_larger_than_the_ring_goes_through() -> None:
    async def work(both: Both) -> None:
        large = row(*([3] * (RING_BYTES // 8 + 1)))
        version = both.remote.plan.resolve("tag")[0]
        (found,) = await both.remote.submit_all([large], [version], loaded=both.remote.loaded)
        np.testing.assert_array_equal(found[TAG.digest]["tags_NT"], large.tensors["ids_NT"] + 1)

    live(work)


def test_when_the_engine_does_not_keep_up_calls_are_refused_and_the_loop_goes_on() -> None:
    async def work(both: Both) -> None:
        loop, engines = asyncio.get_running_loop(), both.desk._channel
        loop.remove_reader(engines._socket)
        loaded = both.remote.loaded
        version = loaded.plan.resolve("tag")[0]
        large = row(*([3] * (RING_BYTES // 64)))  # two tensors of eight bytes a token: a quarter of the ring
        calls = []
        for _ in range(6):
            calls.append(asyncio.ensure_future(both.remote.submit_all([large], [version], loaded=loaded)))
            await asyncio.sleep(0.01)
        trace = Trace(submitted=True)
        with pytest.raises(Overloaded, match="wait to be handed to the engine") as caught:
            await both.remote.submit_all([large], [version], loaded=loaded, trace=trace)
        assert caught.value.retry_after_s > 0
        assert not trace.submitted, "the engine does not count what it never saw"
        loop.add_reader(engines._socket, engines._hear)
        assert len(await asyncio.gather(*calls)) == 6
        await both.remote.submit_all([large], [version], loaded=loaded)

    live(work, max_unsent_bytes=RING_BYTES // 3)


def test_whoever_leaves_is_withdrawn_from_the_queue_of_the_engine() -> None:
    async def work(both: Both) -> None:
        both.runtime.released.clear()
        version = both.remote.plan.resolve("intent")[0]
        first = asyncio.ensure_future(both.remote.submit_all([row(1)], [version], loaded=both.remote.loaded))
        await both.until(lambda: bool(both.runtime.calls))
        leaver = asyncio.ensure_future(both.remote.submit_all([row(2), row(3)], [version], loaded=both.remote.loaded))
        await both.until(lambda: both.engine.waiting_rows == 2)
        leaver.cancel()
        await both.until(lambda: both.engine.waiting_rows == 0)
        both.runtime.released.set()
        await first
        await both.until(lambda: both.desk.calls == 0)

    live(work)


def test_a_front_end_that_is_gone_leaves_nothing_in_the_queue() -> None:
    async def work(both: Both) -> None:
        both.runtime.released.clear()
        version = both.remote.plan.resolve("intent")[0]
        calls = [
            asyncio.ensure_future(both.remote.submit_all([row(number)], [version], loaded=both.remote.loaded))
            for number in range(1, 9)
        ]
        await both.until(lambda: both.engine.waiting_rows >= 4)
        both.remote._channel.close()
        await both.until(lambda: both.engine.waiting_rows == 0)
        await asyncio.wait_for(both.desk.ended.wait(), 10)
        assert (both.desk.plans, both.desk.calls) == (0, 0)
        for call in calls:
            call.cancel()

    live(work, limits=Limits(max_rows=1))


def test_calls_of_an_engine_that_is_gone_are_unavailable() -> None:
    async def work(both: Both) -> None:
        both.runtime.released.clear()
        version = both.remote.plan.resolve("intent")[0]
        call = asyncio.ensure_future(both.remote.submit_all([row(1)], [version], loaded=both.remote.loaded))
        await both.until(lambda: both.desk.calls == 1)
        both.desk.close()
        with pytest.raises(Unavailable, match="is gone"):
            await call
        assert both.remote.gone.is_set()
        with pytest.raises(Unavailable, match="is gone"):
            both.remote.check_room([version], 1, None)
        with pytest.raises(Unavailable, match="is gone"):
            await both.remote.counted([version])
        both.desk.ended.set()

    live(work)


def test_a_plan_lives_until_the_last_request_that_began_with_it_has_ended() -> None:
    async def work(both: Both) -> None:
        both.runtime.released.clear()
        loaded = both.remote.loaded
        call = asyncio.ensure_future(
            both.remote.submit_all([row(1, 2)], [loaded.plan.resolve("intent")[0]], loaded=loaded)
        )
        await both.until(lambda: bool(both.runtime.calls))
        both.swap(2, loaded_plan([NEWER], both.runtime))
        await both.until(lambda: both.remote.plan.resolve("intent")[0].number == NEWER.number)
        later = asyncio.ensure_future(
            both.remote.submit_all([row(1, 2)], [loaded.plan.resolve("urgency")[0]], loaded=loaded)
        )
        await both.until(lambda: both.desk.calls == 2)
        assert both.desk.plans == 2
        both.runtime.released.set()
        (found,), (found_later,) = await call, await later
        np.testing.assert_array_equal(found[INTENT.digest]["total_N1"], expected(INTENT, [1, 2]))
        np.testing.assert_array_equal(found_later[URGENCY.digest]["total_N1"], expected(URGENCY, [1, 2]))
        del loaded, call, later
        gc.collect()
        await both.until(lambda: both.desk.plans == 1)

    live(work)


def test_of_many_swaps_at_once_a_front_end_hears_the_last_and_keeps_few_plans_alive() -> None:
    async def work(both: Both) -> None:
        for number in range(2, 60):
            version = served("intent", ["body/0", "body/1", "intent"], number=number)
            both.swap(number, loaded_plan([version], both.runtime))
            assert both.desk.plans <= 3
            if number % 7 == 0:
                await asyncio.sleep(0)
        await both.until(lambda: both.remote.plan.versions[0].number == 59)
        await both.until(lambda: both.desk.plans == 1)

    live(work)


def test_a_deadline_and_a_failure_are_those_of_the_engine() -> None:
    async def work(both: Both) -> None:
        plan = both.remote.plan
        with pytest.raises(DeadlineExceeded):
            await both.remote.submit_all(
                [row(1)], plan.versions[:1], loaded=both.remote.loaded, deadline=time.monotonic() - 1
            )
        both.runtime.broken.add("urgency")
        with pytest.raises(StageFailed, match="log has the cause"):
            await both.remote.submit_all(
                [row(1)], [plan.resolve("urgency")[0]], loaded=both.remote.loaded, priority=Priority.LOW
            )
        (counted,) = await both.remote.counted([plan.resolve("urgency")[0]])
        assert (counted.fail.count, counted.success.count) == (1, 0)

    live(work)


def test_what_handlers_count_in_a_front_end_is_counted_by_the_engine() -> None:
    async def work(both: Both) -> None:
        intent = both.remote.plan.resolve("intent")[0]
        both.remote.statistics.record_call("ModelInfer", 0.25, "serving.invalid_request", [intent])
        both.remote.statistics.record_shadow(intent, "disagreed")
        await both.until(lambda: bool(both.engine.statistics.shadows()))
        assert both.engine.statistics.shadows() == {("intent", INTENT.digest, "disagreed"): 1}
        (counted,) = await both.engine.counted([INTENT])
        assert counted.fail.count == 1

    live(work)
