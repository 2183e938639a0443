import asyncio
from collections.abc import AsyncIterator

import pytest

from serving.grpc.ordered import in_order


async def numbers(count: int, read: list[int] | None = None) -> AsyncIterator[int]:
    for number in range(count):
        if read is not None:
            read.append(number)
        yield number


def test_answers_keep_the_order_of_their_questions_though_they_run_side_by_side() -> None:
    started: list[int] = []

    async def answer(number: int) -> int:
        started.append(number)
        await asyncio.sleep(0.02 / (number + 1))
        return number * number

    async def run() -> list[int]:
        return [found async for found in in_order(numbers(8), answer, window=8)]

    assert asyncio.run(run()) == [number * number for number in range(8)]
    assert started == list(range(8))


def test_no_more_is_read_than_the_window_holds() -> None:
    read: list[int] = []

    async def run() -> None:
        release = asyncio.Event()

        async def answer(number: int) -> int:
            await release.wait()
            return number

        answers = in_order(numbers(100, read), answer, window=4)
        first = asyncio.ensure_future(anext(answers))
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(read) <= 5  # four at work, and one read ahead
        release.set()
        assert await first == 0
        assert [found async for found in answers] == list(range(1, 100))

    asyncio.run(run())


def test_what_still_runs_when_the_reader_leaves_is_cancelled() -> None:
    cancelled: list[int] = []

    async def answer(number: int) -> int:
        if number == 0:
            return 0
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async def run() -> None:
        answers = in_order(numbers(5), answer, window=8)
        assert await anext(answers) == 0
        await asyncio.sleep(0.01)
        await answers.aclose()
        await asyncio.sleep(0.01)

    asyncio.run(run())
    assert sorted(cancelled) == [1, 2, 3, 4]


def test_a_stream_that_breaks_off_ends_with_its_error_after_what_was_answered() -> None:
    async def broken() -> AsyncIterator[int]:
        yield 1
        raise ConnectionError("gone")

    async def answer(number: int) -> int:
        return number

    async def run() -> None:
        answers = in_order(broken(), answer, window=2)
        assert await anext(answers) == 1
        with pytest.raises(ConnectionError, match="gone"):
            await anext(answers)

    asyncio.run(run())
