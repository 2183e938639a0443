import asyncio
from math import inf
from typing import Any

from serving.batching import Priority
from serving.deadlines import Deadlines
from serving.request import Request


def request(deadline_s: float) -> Request:
    future = asyncio.get_running_loop().create_future()
    return Request(future, 1, 1, arrived_s=0.0, deadline_s=deadline_s, priority=Priority.NORMAL, trace=None)


def test_each_request_is_told_once_its_deadline_has_passed_the_earliest_first() -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        told: list[Request] = []
        deadlines = Deadlines(clock, told.append)
        late, early, never, gone = (request(clock() + each) for each in (0.03, 0.01, inf, 0.01))
        for each in (late, early, never, gone):
            deadlines.add(each)
        deadlines.discard(gone)
        assert len(deadlines) == 2
        while len(told) < 2:
            await asyncio.sleep(0.001)
        assert told == [early, late]
        assert clock() >= late.deadline_s
        assert len(deadlines) == 0

    asyncio.run(scenario())


def test_a_clock_that_stands_still_expires_nothing_until_it_goes_on() -> None:
    async def scenario() -> None:
        now_s = [0.0]
        told: list[Request] = []
        deadlines = Deadlines(lambda: now_s[0], told.append)
        deadlines.add(request(0.001))
        await asyncio.sleep(0.02)
        assert told == []
        now_s[0] = 0.002
        while not told:
            await asyncio.sleep(0.001)

    asyncio.run(scenario())


def test_a_thousand_requests_answered_in_time_set_one_timer() -> None:
    async def scenario() -> None:
        loop = asyncio.get_running_loop()
        timers: list[float] = []
        call_later = loop.call_later

        def noted(delay: float, *rest: Any, **more: Any) -> asyncio.TimerHandle:
            timers.append(delay)
            return call_later(delay, *rest, **more)

        loop.call_later = noted  # type: ignore[method-assign, assignment]
        deadlines = Deadlines(loop.time, lambda _: None)
        for _ in range(1000):
            each = request(loop.time() + 10)
            deadlines.add(each)
            deadlines.discard(each)
        assert len(timers) == 1
        deadlines.close()

    asyncio.run(scenario())


def test_nothing_rings_after_the_close() -> None:
    async def scenario() -> None:
        clock = asyncio.get_running_loop().time
        told: list[Request] = []
        deadlines = Deadlines(clock, told.append)
        deadlines.add(request(clock() + 0.005))
        deadlines.close()
        await asyncio.sleep(0.02)
        assert told == []

    asyncio.run(scenario())
