"""The server: loads a plan, answers on gRPC, and leaves in order."""

import asyncio
import signal
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from serving.address import check_free, parse_address
from serving.engine import Engine
from serving.errors import StageFailed
from serving.frontends import Front, ServerLimits
from serving.loader import load_plan
from serving.plan import LoadedPlan
from serving.runtimes.base import Runtime
from zoo import Zoo

__all__ = ["Server", "ServerLimits"]


class Server:
    """Answers for every version that is live in a zoo.

    Args:
        zoo: what the registry service reads, and what is loaded.
        runtime: runs the stages.
        address: ``host:port``; port 0 takes a free one.
        limits: bounds of messages, requests and the queue.
        load: gives the plan; by default everything under an alias. It runs in a thread.
    """

    def __init__(
        self,
        zoo: Zoo,
        runtime: Runtime,
        *,
        address: str = "localhost:8701",
        limits: ServerLimits | None = None,
        load: Callable[[], LoadedPlan] | None = None,
    ) -> None:
        self._zoo = zoo
        self._runtime = runtime
        self._limits = limits or ServerLimits()
        self._load = load or partial(load_plan, zoo, runtime)
        self._asked = parse_address(address)
        self._front = Front(zoo, self._limits)

    async def start(self) -> None:
        """Take the address, load the plan, and answer.

        Raises:
            AddressUnavailable: the address cannot be listened on; found out before anything is loaded.
            UnknownModel: nothing is live in the zoo.
            StageFailed: a stage does not load or does not run.
        """
        check_free(self._asked)
        self._address = self._front.bind(self._asked)
        try:
            loaded = await asyncio.to_thread(self._load)
        except BaseException:
            await self._front.release()
            raise
        self._engine = Engine(loaded, self._runtime, self._limits.batching)
        self._engine.start()
        await self._front.open(self._engine, runtime=self._runtime.name, device=self._runtime.device)

    @property
    def address(self) -> str:
        """Where it listens; the port is the one that was taken."""
        return str(self._address)

    @property
    def engine(self) -> Engine:
        """What answers."""
        return self._engine

    async def run_until_signalled(self, tell: Callable[[], None] = lambda: None) -> None:
        """Answer until SIGINT or SIGTERM comes, then stop; a second signal cuts short what is still at work.

        Args:
            tell: called once signals are heeded; whoever is told that the server answers may send one at once.

        Raises:
            StageFailed: the engine stopped by itself; whatever watches this process should start another.
        """
        loop = asyncio.get_running_loop()
        end = asyncio.ensure_future(self._engine.wait_until_stopped())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, end.cancel)
        tell()
        await asyncio.wait([end])
        stopping = asyncio.ensure_future(self.stop())
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stopping.cancel)
        with suppress(asyncio.CancelledError):
            await stopping
        if not end.cancelled():
            raise StageFailed("The engine stopped on an internal error, and so the server did; its log has the cause.")

    async def stop(self) -> None:
        """Say that it is not serving, refuse new requests, finish those in flight, and leave."""
        try:
            await self._front.drain()
        finally:
            await self._engine.close(0)
            await self._front.close()
