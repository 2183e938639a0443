"""One log line a request: who asked which heads, which versions answered, how it ended and where its time went.

The same entry is counted, and becomes spans if the caller's trace is recorded.
"""

import json
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring_ascii
from typing import Any, Literal, Protocol

from serving.counts import OK
from serving.errors import ServingError
from serving.handlers.asked import Asked
from serving.handlers.call import CallContext
from serving.plan import ServedVersion
from serving.request import Trace
from serving.statistics import outcome
from serving.telemetry.trace_context import parse_traceparent

__all__ = ["ACCESS_LOGGER", "AccessLog", "CallCounts", "Ended", "Entry", "LogStyle", "Spans"]

ACCESS_LOGGER = "serving.access"

logger = logging.getLogger(ACCESS_LOGGER)

LOGGED_AT_MOST = 200
"""Characters of anything that a caller wrote."""

SHORT_DIGEST = 12

LogStyle = Literal["text", "json", "off"]


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known of a request so far; its handler fills it in."""

    rpc: str
    request_id: str
    call: CallContext
    heads: str = ""
    """What was asked, in the caller's words."""
    asked: Sequence[Asked] = ()
    """What that was found to mean; empty as long as nothing was found."""
    rows: int = 0
    trace: Trace = field(default_factory=Trace)
    """When what happened to it in the engine."""

    @property
    def versions(self) -> list[ServedVersion]:
        """The versions that answer."""
        return [one.served for one in self.asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A request that is over. The times are by the engine's clock."""

    entry: Entry
    code: str
    """``ok``, or that of its error."""
    began_s: float
    ended_s: float

    def text(self) -> str:
        r"""Return the log line; callers' words are quoted, so that none of them can forge a line.

        >>> entry = Entry(rpc="Predict", request_id="a\nb", call=CallContext(peer="10.0.0.7"), heads="intent", rows=1)
        >>> print(Ended(entry=entry, code="ok", began_s=1.0, ended_s=1.0015).text())
        rpc=Predict id="a\nb" peer="10.0.0.7" heads="intent" versions="" rows=1 status=ok ms=1.50 queue_ms=0.00
        run_ms=0.00 batch_rows=0 cached=0 trace=""
        """
        facts = self.facts()
        quoted = {name: encode_basestring_ascii(facts[name]) for name in ("id", "peer", "heads", "trace")}
        versions = ",".join(_short(one) for one in self.entry.asked)
        return (
            f"rpc={self.entry.rpc} id={quoted['id']} peer={quoted['peer']} heads={quoted['heads']} "
            f'versions="{versions}" rows={self.entry.rows} status={self.code} ms={facts["ms"]:.2f} '
            f"queue_ms={facts['queue_ms']:.2f} run_ms={facts['run_ms']:.2f} batch_rows={facts['batch_rows']} "
            f"cached={facts['cached']} trace={quoted['trace']}"
        )

    def json(self, unix_s: float) -> str:
        """Return the log line as one JSON object; digests are whole."""
        versions = [
            {"head": one.served.head, "number": one.served.number, "digest": one.served.digest}
            | ({"alias": one.alias, "epoch": one.epoch} if one.alias else {})
            for one in self.entry.asked
        ]
        time = datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="milliseconds")
        return json.dumps({"time": time, **self.facts(), "versions": versions})

    def facts(self) -> dict[str, Any]:
        """Return what the lines have in common."""
        entry, trace = self.entry, self.entry.trace
        context = parse_traceparent(entry.call.traceparent) if entry.call.traceparent else None
        return {
            "rpc": entry.rpc,
            "id": entry.request_id[:LOGGED_AT_MOST],
            "peer": entry.call.peer[:LOGGED_AT_MOST],
            "heads": entry.heads[:LOGGED_AT_MOST],
            "rows": entry.rows,
            "status": self.code,
            "ms": round((self.ended_s - self.began_s) * 1000, 3),
            "queue_ms": _milliseconds(trace.queued_s, trace.began_s),
            "run_ms": _milliseconds(max(trace.queued_s, trace.began_s), trace.ended_s) if trace.began_s else 0.0,
            "batch_rows": trace.batch_rows,
            "cached": trace.cached,
            "trace": context.trace_id if context else "",
        }


class CallCounts(Protocol):
    """Counts calls; ``serving.statistics.Statistics`` does."""

    def record_call(self, rpc: str, seconds: float, code: str, refused: Sequence[ServedVersion]) -> None:
        """Add one call; ``refused`` are the versions that it asked, if it never reached the engine."""
        ...


class Spans(Protocol):
    """Makes spans of requests; ``serving.telemetry.Tracing`` does."""

    def wants(self, traceparent: str) -> bool:
        """Return whether a call of this ``traceparent`` is recorded; an empty one begins a trace of its own."""
        ...

    def add(self, ended: Ended) -> None:
        """Record a request; it takes no time of the caller's."""
        ...

    def close(self) -> None:
        """Send what was recorded, and end."""
        ...


class AccessLog:
    """Writes the line when a request ends, whichever way, and counts it.

    Args:
        clock: the engine's clock, in seconds.
        counts: counts the calls; nobody does if it is left out.
        spans: makes spans of those whose trace is recorded.
        style: how a line is written, if at all.
        unix_time: gives the wall-clock time in seconds.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        counts: CallCounts | None = None,
        spans: Spans | None = None,
        style: LogStyle = "text",
        unix_time: Callable[[], float] = lambda: datetime.now(UTC).timestamp(),
    ) -> None:
        self._clock = clock
        self._counts = counts
        self._spans = spans
        self._style = style
        self._unix_time = unix_time

    def request(self, rpc: str, request_id: str, call: CallContext) -> "_Request":
        """Return a context that yields the entry of one request; it is logged and counted at the end."""
        entry = Entry(rpc=rpc, request_id=request_id, call=call, trace=Trace(arrived_s=self._clock()))
        return _Request(entry, self._end)

    def refuse(
        self, rpc: str, request_id: str, call: CallContext, heads: str, find: Callable[[], Sequence[Asked]], why: str
    ) -> None:
        """Log and count a request that could not even be decoded.

        Args:
            rpc: what was called.
            request_id: the caller's.
            call: who called.
            heads: what was asked, in the caller's words.
            find: finds out what that means, or raises ServingError.
            why: the code of the error.
        """
        entry = Entry(rpc=rpc, request_id=request_id, call=call, heads=heads, trace=Trace(arrived_s=self._clock()))
        with suppress(ServingError):
            entry.asked = find()
        self._end(entry, why)

    def _end(self, entry: Entry, code: str) -> None:
        ended = Ended(entry=entry, code=code, began_s=entry.trace.arrived_s, ended_s=self._clock())
        if self._counts is not None:
            refused = () if entry.trace.submitted else entry.versions
            self._counts.record_call(entry.rpc, ended.ended_s - ended.began_s, code, refused)
        if self._style != "off" and logger.isEnabledFor(logging.INFO):
            logger.info("%s", ended.text() if self._style == "text" else ended.json(self._unix_time()))
        if self._spans is not None and self._spans.wants(entry.call.traceparent):
            self._spans.add(ended)


class _Request:
    """One request, from its arrival to its end. Not a generator, since one is made for every request."""

    __slots__ = ("_end", "_entry")

    def __init__(self, entry: Entry, end: Callable[[Entry, str], None]) -> None:
        self._entry = entry
        self._end = end

    def __enter__(self) -> Entry:
        return self._entry

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        self._end(self._entry, OK if error is None else outcome(error))


def _milliseconds(began_s: float, ended_s: float) -> float:
    """Return the time between two moments; 0 unless both came, in this order: some join a batch under way."""
    return round((ended_s - began_s) * 1000, 3) if 0 < began_s < ended_s else 0.0


def _short(one: Asked) -> str:
    """Name a version, the beginning of its digest, and the alias and epoch that led to it."""
    alias = f"({one.alias}/{one.epoch})" if one.alias else ""
    return f"{one.served}:{one.served.digest[:SHORT_DIGEST]}{alias}"
