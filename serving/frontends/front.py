"""The side that callers see: an address, the gRPC services on it, and an orderly end. One engine stands behind it."""

import asyncio
import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field

import grpc
from grpc_health.v1 import health_pb2

from serving.address import Address
from serving.answering import Answering
from serving.batching import Limits
from serving.errors import AddressUnavailable
from serving.grpc import Services, add_services
from serving.grpc.services import SERVICES
from serving.handlers import (
    AccessLog,
    Admission,
    Asker,
    InferenceHandler,
    ModelsHandler,
    PredictHandler,
    RegistryHandler,
)
from serving.handlers.access import LogStyle, Spans
from serving.plan import LoadedPlan
from zoo import Zoo

__all__ = ["Front", "ServerLimits"]

logger = logging.getLogger(__name__)

MAX_PENDING = 128
"""Calls that gRPC keeps while the event loop is behind; from here to twice as many it refuses more and more of them."""

REMEMBERED_PART = 8
"""Preprocessed texts may take one in so many bytes of what the nodes' cache may; it is worth little without them."""

LAST_WORDS_S = 1.0
"""How long answers that are ready may take to leave, and open streams live on, once nothing is at work any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """What bounds a message, a request, and the end.

    ``batching`` bounds a batch and the queue. A request holds at most ``max_request_rows`` rows, and never more than
    the queue. When the server stops, requests in flight have ``drain_s`` seconds to finish. ``cache_bytes`` of what
    nodes gave are kept for inputs that come again.
    """

    batching: Limits = field(default_factory=Limits)
    max_message_bytes: int = 64 * 1024 * 1024
    max_request_rows: int = 1024
    drain_s: float = 20.0
    cache_bytes: int = 256 << 20


class Front:
    """Takes an address, answers on it with an engine, and leaves in order.

    Args:
        zoo: what the registry service reads.
        limits: bounds of messages, requests and the queue, and of the end.
        share_port: let other processes listen on the same address; the kernel deals the callers out among them.
        access_log: how each request's log line is written, if at all.
        trace_endpoint: where spans are sent; nowhere if it is empty.
    """

    def __init__(
        self,
        zoo: Zoo,
        limits: ServerLimits,
        *,
        share_port: bool = False,
        access_log: LogStyle = "text",
        trace_endpoint: str = "",
    ) -> None:
        self._zoo = zoo
        self._limits = limits
        self._share_port = share_port
        self._access_log = access_log
        self._spans = _spans(trace_endpoint)
        self._admission = Admission(loading=True)

    def bind(self, address: Address) -> Address:
        """Take an address; nobody is answered yet. Returns it with the port that was taken.

        Raises:
            AddressUnavailable: it cannot be listened on.
        """
        self._grpc = grpc.aio.server(options=_options(self._limits, share_port=self._share_port))
        try:
            return address._replace(port=self._grpc.add_insecure_port(str(address)))
        except RuntimeError as error:
            raise AddressUnavailable(f"Cannot listen on {address}: {error}. Choose another address.") from error

    async def open(self, engine: Answering, *, runtime: str, device: str) -> None:
        """Answer that the server is loading, until ``admit``.

        Args:
            engine: what answers.
            runtime: the name of what runs the stages.
            device: where they run.
        """
        self._health = add_services(self._grpc, self._services(engine, runtime, device))
        await self._grpc.start()
        for service in ("", *SERVICES):
            await self.say(service, serving=False)

    async def admit(self) -> None:
        """Let requests in: the engine takes rows now."""
        self._admission.open()
        for service in ("", *SERVICES):
            await self.say(service, serving=True)

    async def say(self, service: str, *, serving: bool) -> None:
        """Let the health service say of one service whether it serves."""
        states = health_pb2.HealthCheckResponse
        await self._health.set(service, states.SERVING if serving else states.NOT_SERVING)

    def announce(self, loaded: LoadedPlan) -> None:
        """Nothing to do: each request asks the engine what it answers with."""

    async def drain(self) -> None:
        """Say that nothing is served here any more, refuse new requests, and finish those in flight."""
        logger.info("stopping; %d requests in flight", self._admission.in_flight)
        await self._health.enter_graceful_shutdown()
        self._admission.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain_s):
                await self._admission.wait_until_empty()
        await self._grpc.stop(LAST_WORDS_S)

    async def close(self) -> None:
        """Leave at once; whatever is still in flight is cut off."""
        await self._grpc.stop(None)
        self._asker.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)

    def _services(self, engine: Answering, runtime: str, device: str) -> Services:
        waiting = self._limits.batching.max_waiting_rows
        rows = min(self._limits.max_request_rows, waiting)
        self._asker = Asker(
            engine,
            max_request_rows=rows,
            max_preparing_rows=waiting,
            remembered_bytes=self._limits.cache_bytes // REMEMBERED_PART,
        )
        log = AccessLog(time.monotonic, counts=engine.statistics, spans=self._spans, style=self._access_log)
        return Services(
            inference=InferenceHandler(self._asker, self._admission, log),
            models=ModelsHandler(self._asker, self._admission, platform=f"hydrazoo_{runtime}", device=device),
            predict=PredictHandler(self._asker, self._admission, log),
            registry=RegistryHandler(self._zoo, self._admission, log),
            max_request_rows=rows,
        )


def _spans(endpoint: str) -> Spans | None:
    if not endpoint:
        return None
    from serving.telemetry.spans import open_tracing  # which needs an extra

    return open_tracing(endpoint)


def _options(limits: ServerLimits, *, share_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.max_message_bytes),
        ("grpc.max_send_message_length", limits.max_message_bytes),
        # Two servers on one port would answer in turns, and neither would say so; one server's front ends may.
        ("grpc.so_reuseport", int(share_port)),
        ("grpc.server.max_pending_requests", MAX_PENDING),
        ("grpc.server.max_pending_requests_hard_limit", 2 * MAX_PENDING),
    ]
