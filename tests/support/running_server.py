"""A real server on a free port of this machine, in a thread of its own."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from serving.engine import Engine
from serving.server import Server

__all__ = ["Running", "running"]


@dataclass(frozen=True)
class Running:
    """A server that answers, and the loop that it lives on."""

    server: Server
    loop: asyncio.AbstractEventLoop

    @property
    def address(self) -> str:
        return self.server.address

    @property
    def engine(self) -> Engine:
        return self.server.engine

    def stop(self) -> "Future[None]":
        return asyncio.run_coroutine_threadsafe(self.server.stop(), self.loop)


@contextmanager
def running(make: Callable[[], Server]) -> Iterator[Running]:
    """Run the server that ``make`` gives until the block ends; ``make`` is called on the server's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()

    async def start() -> Server:
        server = make()
        await server.start()
        return server

    try:
        found = Running(asyncio.run_coroutine_threadsafe(start(), loop).result(60), loop)
        try:
            yield found
        finally:
            found.stop().result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
