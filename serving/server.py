"""The server: loads a plan, answers on gRPC, and leaves in order."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

from serving.address import check_free, parse_address
from serving.board import Recorder
from serving.engine import Engine
from serving.errors import StageFailed
from serving.frontends import Front, FrontEndSettings, ServerLimits
from serving.frontends.entrance import AnnouncedSwaps, Entrance
from serving.loader import empty_plan, load_plan
from serving.runtimes.base import Runtime
from serving.telemetry.endpoint import MetricsServer
from serving.watching import Load, PlanWatcher
from zoo import Zoo

__all__ = ["PLAN_SERVICE", "Server", "ServerLimits"]

logger = logging.getLogger(__name__)

PLAN_SERVICE = "hydrazoo.plan"
"""What the health service calls the plan: it serves while everything that is promoted is served."""

IN_PROCESS = FrontEndSettings()


class Server:
    """Answers for every version that is live in a zoo.

    Args:
        zoo: what the registry service reads, and what is loaded.
        runtime: runs the stages.
        address: ``host:port``; port 0 takes a free one.
        limits: bounds of messages, requests and the queue.
        load: gives the plan, and the next one when something is promoted; by default everything under an alias.
        share: let callers and heads share what they can; off to compare with.
        watch: pick up promotions while it serves.
        watch_s: how often it looks for some.
        front_ends: where callers are talked to; by default in this process.
        metrics_address: ``host:port`` where Prometheus reads the metrics; nowhere if it is empty.
        recorder: keeps what comes and what it costs, if it is to be replayed later.
    """

    def __init__(
        self,
        zoo: Zoo,
        runtime: Runtime,
        *,
        address: str = "localhost:8701",
        limits: ServerLimits | None = None,
        load: Load | None = None,
        share: bool = True,
        watch: bool = True,
        watch_s: float = 0.5,
        front_ends: FrontEndSettings = IN_PROCESS,
        metrics_address: str = "",
        recorder: Recorder | None = None,
    ) -> None:
        self._zoo = zoo
        self._runtime = runtime
        self._limits = limits or ServerLimits()
        self._asked = parse_address(address)
        self._metrics_asked = metrics_address
        self._metrics: MetricsServer | None = None
        self._front = _entrance(zoo, self._limits, front_ends)
        self._engine = Engine(
            empty_plan(),
            runtime,
            self._limits.batching,
            cache_bytes=self._limits.cache_bytes,
            share=share,
            recorder=recorder,
        )
        self._watch = watch
        self._watcher = PlanWatcher(
            zoo.newest_promotion,
            load or partial(load_plan, zoo, runtime, share=share),
            AnnouncedSwaps(self._engine, self._front),
            runtime,
            clock=time.monotonic,
            watch_s=watch_s,
            tell=lambda complete: self._front.say(PLAN_SERVICE, serving=complete),
            record=self._engine.statistics.record_swap,
        )
        self._following: asyncio.Future[None] | None = None

    async def start(self) -> None:
        """Take the address, answer that it is loading, load the plan, and answer.

        Raises:
            AddressUnavailable: the address cannot be listened on; found out before anything is loaded.
            UnknownModel: nothing is live in the zoo.
            StageFailed: a stage does not load or does not run.
        """
        check_free(self._asked)
        if self._metrics_asked:
            self._metrics = MetricsServer(self._metrics_asked)
            self._metrics.observe(self._engine, runtime=self._runtime.name, device=self._runtime.device)
        self._address = self._front.bind(self._asked)
        self._engine.start()
        await self._front.open(self._engine, runtime=self._runtime.name, device=self._runtime.device)
        try:
            await self._watcher.begin()
            await self._front.admit()
        except BaseException:
            await self._leave()
            raise
        if self._watch:
            self._following = asyncio.ensure_future(self._watcher.follow())

    @property
    def address(self) -> str:
        """Where it listens; the port is the one that was taken."""
        return str(self._address)

    @property
    def metrics_address(self) -> str:
        """Where Prometheus reads the metrics; empty if nowhere."""
        return self._metrics.address if self._metrics is not None else ""

    @property
    def engine(self) -> Engine:
        """What answers."""
        return self._engine

    @property
    def entrance(self) -> Entrance:
        """Where callers come in."""
        return self._front

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
        if self._following is not None:
            self._following.cancel()
        try:
            await self._front.drain()
        finally:
            await self._leave()
        logger.info("stopped")

    async def _leave(self) -> None:
        self._watcher.close()
        await self._engine.close(0)
        await self._front.close()
        if self._metrics is not None:
            self._metrics.close()


def _entrance(zoo: Zoo, limits: ServerLimits, settings: FrontEndSettings) -> Entrance:
    if not settings.count:
        return Front(zoo, limits, access_log=settings.access_log, trace_endpoint=settings.trace_endpoint)
    from serving.frontends.supervisor import Supervisor  # which not every system can run

    return Supervisor(settings, limits)
