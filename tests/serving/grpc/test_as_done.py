import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from itertools import chain
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.grpc.as_done import Give, as_done


class One(int):
    """A number that is answered with so many answers as its length says: one."""

    def __len__(self) -> int:
        return 1


async def groups_of(*groups: Sequence[int]) -> AsyncIterator[Sequence[One]]:
    for group in groups:
        yield [One(number) for number in group]


def alone(answer: Callable[[int], Awaitable[int]]) -> Callable[[One, Give[int]], Coroutine[Any, Any, None]]:
    async def answers(one: One, give: Give[int]) -> None:
        give([await answer(int(one))])

    return answers


async def never() -> None:
    await asyncio.Event().wait()


async def collect(
    asked: AsyncIterator[Sequence[One]],
    answer: Callable[[int], Awaitable[int]],
    *,
    window: int = 8,
    ending: Callable[[], Awaitable[object]] = never,
) -> list[list[int]]:
    return [group async for group in as_done(asked, alone(answer), window=window, ending=ending)]


async def doubled(number: int) -> int:
    return 2 * number


def test_answers_that_are_done_together_come_together() -> None:
    assert asyncio.run(collect(groups_of([1, 2, 3]), doubled)) == [[2, 4, 6]]


def test_an_answer_does_not_wait_for_those_asked_before_it() -> None:
    async def run() -> list[list[int]]:
        held = asyncio.Event()

        async def answer(number: int) -> int:
            if number == 1:
                await held.wait()
            else:
                asyncio.get_running_loop().call_later(0.01, held.set)
            return number

        return await collect(groups_of([1, 2]), answer)

    assert asyncio.run(run()) == [[2], [1]]


def test_a_stream_of_nothing_ends() -> None:
    assert asyncio.run(collect(groups_of(), doubled)) == []
    assert asyncio.run(collect(groups_of([], []), doubled)) == []


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(st.integers(0, 3), max_size=5), max_size=5), st.integers(1, 4))
def test_everything_is_answered_once_whatever_takes_how_long(groups: list[list[int]], window: int) -> None:
    busy = most = 0

    async def answer(turns: int) -> int:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        for _ in range(turns):
            await asyncio.sleep(0)
        busy -= 1
        return turns

    found = asyncio.run(collect(groups_of(*groups), answer, window=window))
    assert sorted(chain.from_iterable(found)) == sorted(chain.from_iterable(groups))
    assert all(found)
    assert most <= window


def test_a_reader_who_is_slow_slows_down_what_is_asked() -> None:
    async def run() -> list[int]:
        began: list[int] = []

        async def answer(number: int) -> int:
            began.append(number)
            return number

        async with aclosing(as_done(groups_of(range(9)), alone(answer), window=2, ending=never)) as answers:
            await anext(answers)
            for _ in range(20):
                await asyncio.sleep(0)
            return began

    assert asyncio.run(run()) == [0, 1]


def test_what_runs_when_the_reader_leaves_is_cancelled() -> None:
    async def run() -> tuple[list[int], int]:
        cancelled: list[int] = []

        async def answer(number: int) -> int:
            try:
                await asyncio.sleep(60 if number else 0)
            except asyncio.CancelledError:
                cancelled.append(number)
                raise
            return number

        async with aclosing(as_done(groups_of([0, 1, 2]), alone(answer), window=8, ending=never)) as answers:
            assert await anext(answers) == [0]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return sorted(cancelled), len(asyncio.all_tasks())

    assert asyncio.run(run()) == ([1, 2], 1)


def test_what_reading_raises_comes_after_the_answers_to_what_was_read() -> None:
    async def broken() -> AsyncIterator[Sequence[One]]:
        yield [One(1)]
        raise ValueError("cut off")

    async def run() -> list[int]:
        async with aclosing(as_done(broken(), alone(doubled), window=8, ending=never)) as answers:
            first = await anext(answers)
            with pytest.raises(ValueError, match="cut off"):
                await anext(answers)
            return first

    assert asyncio.run(run()) == [2]


def test_once_the_end_is_near_nothing_more_is_read_and_what_was_read_is_answered() -> None:
    async def run() -> list[list[int]]:
        end = asyncio.Event()

        async def endless() -> AsyncIterator[Sequence[One]]:
            yield [One(1)]
            await never()

        async def answer(number: int) -> int:
            end.set()
            await asyncio.sleep(0.01)
            return number

        return await collect(endless(), answer, ending=end.wait)

    assert asyncio.run(run()) == [[1]]


def test_what_has_several_answers_takes_as_much_of_the_window() -> None:
    async def run() -> list[str]:
        began: list[str] = []

        async def letters(word: str, give: Give[str]) -> None:
            began.append(word)
            give(word)

        async def words() -> AsyncIterator[Sequence[str]]:
            yield ["ab", "c", "d"]

        async with aclosing(as_done(words(), letters, window=3, ending=never)) as answers:
            assert await anext(answers) == ["a", "b", "c"]
            return began

    assert asyncio.run(run()) == ["ab", "c"]


def test_answers_to_one_thing_may_come_one_by_one() -> None:
    async def run() -> list[list[str]]:
        async def letters(word: str, give: Give[str]) -> None:
            for letter in word:
                give(letter)
                await asyncio.sleep(0.01)

        async def words() -> AsyncIterator[Sequence[str]]:
            yield ["ab"]

        return [group async for group in as_done(words(), letters, window=2, ending=never)]

    assert asyncio.run(run()) == [["a"], ["b"]]
