"""A real server on a free port of this machine, in a thread of its own; and a zoo for what reads one."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from serving.server import Server


@contextmanager
def running(make: Callable[[], Server]) -> Iterator[Server]:
    """Run the server that ``make`` gives until the block ends; ``make`` is called on the server's loop."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="test-server")
    thread.start()

    async def start() -> Server:
        server = make()
        await server.start()
        return server

    try:
        server = asyncio.run_coroutine_threadsafe(start(), loop).result(60)
        try:
            yield server
        finally:
            asyncio.run_coroutine_threadsafe(server.stop(), loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
