"""Many answers at work at once, given out in the order in which they were asked for."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from typing import TypeVar

__all__ = ["in_order"]

AskedT = TypeVar("AskedT")
AnswerT = TypeVar("AnswerT")


async def in_order(
    asked: AsyncIterable[AskedT], answer: Callable[[AskedT], Awaitable[AnswerT]], *, window: int
) -> AsyncGenerator[AnswerT, None]:
    """Answer a stream.

    Args:
        asked: what is asked; it is read ahead of the answers.
        answer: gives one answer; several run at once. It raises nothing but cancellation.
        window: how many run at once; no more is read while so many are unanswered.

    Yields:
        The answers, in the order of ``asked``. Whatever still runs when the reader leaves is cancelled.
    """
    tasks: asyncio.Queue[asyncio.Future[AnswerT] | None] = asyncio.Queue()
    running: set[asyncio.Future[AnswerT]] = set()
    room = asyncio.Semaphore(window)

    async def read() -> None:
        try:
            async for one in asked:
                await room.acquire()
                task = asyncio.ensure_future(answer(one))
                running.add(task)
                task.add_done_callback(running.discard)
                tasks.put_nowait(task)
        finally:
            tasks.put_nowait(None)

    reader = asyncio.ensure_future(read())
    try:
        while (task := await tasks.get()) is not None:
            yield await task
            room.release()
        await reader
    finally:
        reader.cancel()
        for task in running:
            task.cancel()
