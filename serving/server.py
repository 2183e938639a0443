"""The server: loads a plan, answers on gRPC, and leaves in order."""

import asyncio
import logging
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import grpc
from grpc_health.v1 import health_pb2

from serving.address import check_free, parse_address
from serving.batching import Limits
from serving.engine import Engine
from serving.errors import AddressUnavailable, StageFailed
from serving.grpc import Guard, Services, add_services
from serving.grpc.services import SERVICES, TOLERANT
from serving.handlers import (
    AccessLog,
    Admission,
    Asker,
    InferenceHandler,
    ModelsHandler,
    PredictHandler,
    RegistryHandler,
)
from serving.loader import load_plan
from serving.plan import LoadedPlan
from serving.runtimes.base import Runtime
from zoo import Zoo

__all__ = ["Server", "ServerLimits"]

logger = logging.getLogger(__name__)

LAST_WORDS_S = 1.0
"""How long answers that are ready may take to leave, and open streams live on, once nothing is at work any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What bounds a message, a request, and the end.

    ``batching`` bounds a batch and the queue. A request holds at most ``max_request_rows`` rows, and never more than
    the queue. When the server stops, requests in flight have ``drain_s`` seconds to finish.
    """

    batching: Limits = field(default_factory=Limits)
    max_message_bytes: int = 64 * 1024 * 1024
    max_request_rows: int = 1024
    drain_s: float = 20.0


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
        self._admission = Admission()

    async def start(self) -> None:
        """Take the address, load the plan, and answer.

        Raises:
            AddressUnavailable: the address cannot be listened on; found out before anything is loaded.
            UnknownModel: nothing is live in the zoo.
            StageFailed: a stage does not load or does not run.
        """
        self._grpc = grpc.aio.server(interceptors=(Guard(TOLERANT),), options=_options(self._limits))
        self._address = self._asked._replace(port=self._bind())
        try:
            loaded = await asyncio.to_thread(self._load)
        except BaseException:
            await self._grpc.start()  # what never started cannot be stopped, and would keep the port
            await self._grpc.stop(None)
            raise
        self._engine = Engine(loaded, self._runtime, self._limits.batching)
        self._health = add_services(self._grpc, self._services())
        self._engine.start()
        await self._grpc.start()
        for service in ("", *SERVICES):
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)

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
        logger.info("stopping; %d requests in flight", self._admission.in_flight)
        await self._health.enter_graceful_shutdown()
        self._admission.close()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._limits.drain_s):
                    await self._admission.wait_until_empty()
            await self._grpc.stop(LAST_WORDS_S)
        finally:
            await self._engine.close(0)
            await self._grpc.stop(None)
            self._asker.close()
        logger.info("stopped")

    def _bind(self) -> int:
        check_free(self._asked)
        try:
            return self._grpc.add_insecure_port(str(self._asked))
        except RuntimeError as error:
            raise AddressUnavailable(f"Cannot listen on {self._asked}: {error}. Choose another address.") from error

    def _services(self) -> Services:
        rows = min(self._limits.max_request_rows, self._limits.batching.max_waiting_rows)
        waiting = self._limits.batching.max_waiting_rows
        self._asker = Asker(self._engine, max_request_rows=rows, max_preparing_rows=waiting)
        log = AccessLog(time.monotonic)
        platform = f"hydrazoo_{self._runtime.name}"
        return Services(
            inference=InferenceHandler(self._asker, self._admission, log),
            models=ModelsHandler(self._asker, self._admission, platform=platform, device=self._runtime.device),
            predict=PredictHandler(self._asker, self._admission, log),
            registry=RegistryHandler(self._zoo),
            max_request_rows=rows,
        )


def _options(limits: ServerLimits) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        ("grpc.so_reuseport", 0),  # two servers on one port would answer in turns, and neither would say so
    ]
