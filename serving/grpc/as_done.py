"""Many answers at work at once, given out as soon as they are done, as many together as there are."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

__all__ = ["as_done"]

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


async def as_done(
    asked: AsyncIterable[Sequence[AskedT]],
    answer: Callable[[AskedT], Coroutine[Any, Any, AnswerT]],
    *,
    window: int,
    ending: Callable[[], Awaitable[object]],
) -> AsyncGenerator[list[AnswerT], None]:
    """Answer a stream of groups.

    Args:
        asked: what is asked; it is read ahead of the answers.
        answer: gives one answer; several run at once. It raises nothing but cancellation.
        window: how many answers are at work or wait for the reader; no more is asked while there are so many.
        ending: returns when nothing further is to be read.

    Yields:
        Answers in the order in which they were done. Whatever still runs when the reader leaves is cancelled.

    Raises:
        Exception: what reading ``asked`` raised, once everything before it is answered.
    """
    running: set[asyncio.Task[AnswerT]] = set()
    done: list[asyncio.Task[AnswerT]] = []
    changed, room = asyncio.Event(), asyncio.Event()

    def finish(task: asyncio.Task[AnswerT]) -> None:
        running.discard(task)
        done.append(task)
        changed.set()

    async def read() -> None:
        async for group in asked:
            for one in group:
                while len(running) + len(done) >= window:
                    room.clear()
                    await room.wait()
                task = asyncio.create_task(answer(one))
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
                answers = [task.result() for task in done]
                # What is given out counts until the reader comes back for more: a slow one slows down what is asked.
                yield answers
                del done[: len(answers)]
                room.set()
                if done:
                    changed.set()
        if not reader.cancelled():
            reader.result()
    finally:
        for task in (reader, end, *running):
            task.cancel()
