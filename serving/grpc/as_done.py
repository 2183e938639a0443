"""Many answers at work at once, given out as soon as they are done, as many together as there are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Iterable, Sequence, Sized
from typing import Any, TypeVar

__all__ = ["Give", "as_done"]

AskedT = TypeVar("AskedT", bound=Sized)
AnswerT = TypeVar("AnswerT")
Give = Callable[[Iterable[AnswerT]], None]


async def as_done(
    asked: AsyncIterable[Sequence[AskedT]],
    answer: Callable[[AskedT, Give[AnswerT]], Coroutine[Any, Any, None]],
    *,
    window: int,
    ending: Callable[[], Awaitable[object]],
) -> AsyncGenerator[list[AnswerT], None]:
    """Answer a stream of groups.

    Args:
        asked: what is asked, each of it with a length: how many answers it has. It is read ahead of the answers.
        answer: hands out the answers to one thing, together or as they come; several run at once. It raises nothing
            but cancellation.
        window: while so many answers, or more, are at work or wait for the reader, nothing further is asked.
        ending: returns when nothing further is to be read.

    Yields:
        Answers in the order in which they were done. Whatever still runs when the reader leaves is cancelled.

    Raises:
        Exception: what reading ``asked`` raised, once everything before it is answered.
    """
    running: set[asyncio.Task[None]] = set()
    done: list[AnswerT] = []
    at_work = 0
    changed, room = asyncio.Event(), asyncio.Event()

    def give(answers: Iterable[AnswerT]) -> None:
        done.extend(answers)
        changed.set()

    def finish(task: asyncio.Task[None]) -> None:
        running.discard(task)
        changed.set()

    async def read() -> None:
        nonlocal at_work
        async for group in asked:
            for one in group:
                while at_work >= window:
                    room.clear()
                    await room.wait()
                at_work += len(one)
                task = asyncio.create_task(answer(one, give))
                running.add(task)
                task.add_done_callback(finish)

    reader, end = asyncio.ensure_future(read()), asyncio.ensure_future(ending())
    reader.add_done_callback(lambda _: changed.set())
    end.add_done_callback(lambda _: reader.cancel())
    try:
        while running or done or not reader.done():
            await changed.wait()
            changed.clear()
            if done:
                answers, done = done, []
                yield answers
                # What was given out has counted until now: a reader who is slow slows down what is asked.
                at_work -= len(answers)
                room.set()
        if not reader.cancelled():
            reader.result()
    finally:
        for task in (reader, end, *running):
            task.cancel()
