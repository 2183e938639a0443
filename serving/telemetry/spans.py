"""OpenTelemetry spans of requests: made after the answer, in a thread of their own, from the times that were noted.

Needs the extra ``tracing``; what is not the endpoint the SDK takes from the environment (``OTEL_SERVICE_NAME``,
``OTEL_TRACES_SAMPLER``, ``OTEL_EXPORTER_OTLP_HEADERS``, …).
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version as release
from queue import Full, Queue
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from serving.counts import OK
from serving.telemetry.trace_context import TraceContext, parse_traceparent
from zoo.errors import InvalidConfig

try:
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
except ImportError as error:
    MISSING: ImportError | None = error
else:
    MISSING = None

if TYPE_CHECKING:
    from opentelemetry.context import Context

    from serving.handlers.access import Ended

__all__ = ["Tracing", "check_installed", "open_tracing"]

_log = logging.getLogger(__name__)

MOST_WAITING = 4096
"""Requests whose spans are not made yet; what comes when there are more is left out of its trace."""

LAST_WORDS_S = 2.0
"""How long the end waits for the collector; the exporter itself would try for ten seconds."""

NS_PER_S = 1_000_000_000


class Child(NamedTuple):
    """A part of a request; the times are by the engine's clock."""

    name: str
    began_s: float
    ended_s: float


def check_installed(endpoint: str) -> None:
    """See that spans can be made for a collector at ``endpoint``.

    Raises:
        InvalidConfig: OpenTelemetry is not installed; the text says how to.
    """
    if MISSING is not None:
        raise InvalidConfig(
            f"Tracing to {endpoint} needs OpenTelemetry, which is not installed here ({MISSING}). "
            'Install it with: pip install "hydrazoo-platform[tracing]"; or serve without --trace-endpoint.'
        )


def open_tracing(endpoint: str) -> "Tracing":
    """Send spans to a collector.

    Args:
        endpoint: where it takes OTLP over gRPC, for example ``http://localhost:4317``.

    Raises:
        InvalidConfig: OpenTelemetry is not installed.
    """
    check_installed(endpoint)
    return Tracing(BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint)))


class Tracing:
    """Makes a server span of each request that it is given, with a child for each part of it.

    Args:
        processor: takes finished spans; it is shut down in the end.
        clock: the engine's clock, in seconds.
        unix_ns: gives the wall-clock time in nanoseconds.
    """

    def __init__(
        self,
        processor: "SpanProcessor",
        clock: Callable[[], float] = time.monotonic,
        unix_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        resource = Resource.create({"service.name": "hydrazoo"}).merge(OTELResourceDetector().detect())
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("hydrazoo.serving", release("hydrazoo-platform"))
        self._clock = clock
        self._unix_ns = unix_ns
        self._waiting: Queue[Ended | None] = Queue(MOST_WAITING)
        self._thread = Thread(target=self._run, name="hydrazoo-spans", daemon=True)
        self._thread.start()

    def wants(self, traceparent: str) -> bool:
        """Return whether a call is recorded: if its caller records it, or if it begins a trace of its own."""
        context = parse_traceparent(traceparent) if traceparent else None
        return context is None or context.sampled

    def add(self, ended: "Ended") -> None:
        """Make spans of a request, soon; without them if too many wait."""
        with suppress(Full):
            self._waiting.put_nowait(ended)

    def close(self) -> None:
        """Send what was made, and stop; whatever a collector that is gone has not taken soon is lost."""
        self._waiting.put(None)
        self._thread.join()
        sending = Thread(target=self._provider.shutdown, name="hydrazoo-last-spans", daemon=True)
        sending.start()
        sending.join(LAST_WORDS_S)

    def _run(self) -> None:
        while (ended := self._waiting.get()) is not None:
            try:
                self._make(ended)
            except Exception:
                _log.exception("a request has no spans")

    def _make(self, ended: "Ended") -> None:
        since_ns = self._unix_ns() - round(self._clock() * NS_PER_S)  # of the engine's clock, in Unix time

        def at_ns(moment_s: float) -> int:
            return since_ns + round(moment_s * NS_PER_S)

        parent = _parent(parse_traceparent(ended.entry.call.traceparent))
        span = self._tracer.start_span(
            ended.entry.rpc, parent, trace.SpanKind.SERVER, _attributes(ended), start_time=at_ns(ended.began_s)
        )
        if span.is_recording():
            below = trace.set_span_in_context(span)
            for child in _children(ended):
                part = self._tracer.start_span(child.name, below, start_time=at_ns(child.began_s))
                part.end(at_ns(child.ended_s))
            if ended.code != OK:
                span.set_status(trace.StatusCode.ERROR, ended.code)
        span.end(at_ns(ended.ended_s))


def _parent(context: TraceContext | None) -> "Context | None":
    """Return the caller's span for the SDK; without one the request begins a trace."""
    if context is None:
        return trace.set_span_in_context(trace.INVALID_SPAN)
    flags = trace.TraceFlags(trace.TraceFlags.SAMPLED if context.sampled else trace.TraceFlags.DEFAULT)
    span = trace.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)
    return trace.set_span_in_context(trace.NonRecordingSpan(span))


def _attributes(ended: "Ended") -> dict[str, Any]:
    entry = ended.entry
    return {
        "rpc.system": "grpc",
        "rpc.method": entry.rpc,
        "client.address": entry.call.peer,
        "hydrazoo.request_id": entry.request_id,
        "hydrazoo.status": ended.code,
        "hydrazoo.heads": [one.served.head for one in entry.asked],
        "hydrazoo.version_digests": [one.served.digest for one in entry.asked],
        "hydrazoo.alias_epochs": [one.epoch for one in entry.asked],
        "hydrazoo.rows": entry.rows,
        "hydrazoo.batch_rows": entry.trace.batch_rows,
        "hydrazoo.cached": entry.trace.cached,
        "hydrazoo.cache_hit": entry.trace.cached > 0,
    }


def _children(ended: "Ended") -> Iterator[Child]:
    """Yield the parts of a request in the order in which they began."""
    noted = ended.entry.trace
    if noted.queued_s:
        yield Child("preprocess", ended.began_s, noted.queued_s)
        left_s = noted.began_s or (noted.queued_s if ended.code == OK else ended.ended_s)
        if left_s > noted.queued_s:  # neither cached, nor with a batch under way
            yield Child("queue", noted.queued_s, left_s)
    for name, began_s, ended_s in noted.stages:
        yield Child(f"stage {name}", began_s, ended_s)
