"""One log line a request: which heads, which versions answered, how it ended and how long it took."""

import json
import logging
from asyncio import CancelledError
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from serving.request import Trace

__all__ = ["AccessLog", "Entry"]

logger = logging.getLogger("serving.access")

LOGGED_AT_MOST = 200
"""Characters of anything that a caller wrote."""


@dataclass(slots=True, kw_only=True)
class Entry:
    """What is known of a request so far; its handler fills it in."""

    rpc: str
    request_id: str
    heads: str = ""
    versions: str = ""
    rows: int = 0
    trace: Trace = field(default_factory=Trace)
    """When what happened to it in the engine."""

    def line(self, status: str, milliseconds: float) -> str:
        r"""Return the log line; callers' words are quoted, so that none of them can forge a line.

        >>> Entry(rpc="Predict", request_id="a\nb", heads="intent").line("ok", 1.5)
        'rpc=Predict id="a\\nb" heads="intent" versions="" rows=0 status=ok ms=1.50'
        """
        written = (("id", self.request_id), ("heads", self.heads), ("versions", self.versions))
        quoted = " ".join(f"{name}={json.dumps(text[:LOGGED_AT_MOST])}" for name, text in written)
        return f"rpc={self.rpc} {quoted} rows={self.rows} status={status} ms={milliseconds:.2f}"


class AccessLog:
    """Writes the line when a request ends, whichever way.

    Args:
        clock: a monotonic clock, in seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock

    @contextmanager
    def request(self, rpc: str, request_id: str) -> Iterator[Entry]:
        """Yield the entry of one request, and log it at the end."""
        entry, started, status = Entry(rpc=rpc, request_id=request_id), self._clock(), "ok"
        try:
            yield entry
        except CancelledError:
            status = "cancelled"
            raise
        except Exception as error:
            status = getattr(error, "code", "internal")
            raise
        finally:
            logger.info("%s", entry.line(status, (self._clock() - started) * 1000))
