"""One timer for all deadlines: no caller waits past its own, however long the device is busy."""

import asyncio
from collections.abc import Callable
from math import inf

from serving.request import Request

__all__ = ["Deadlines"]

RESOLUTION_S = 0.001
"""What comes within this of each other rings once; event loops know no finer."""


class Deadlines:
    """Calls back for each request whose deadline passes. Lives on one event loop.

    A request that is answered in time costs one entry and no timer of its own: the timer stays where it was, and looks
    for the next deadline only when it rings.

    Args:
        clock: gives the time that the deadlines are in, in seconds.
        expire: called with each request whose deadline has passed, once.
    """

    def __init__(self, clock: Callable[[], float], expire: Callable[[Request], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._live: dict[Request, None] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._rings_s = inf

    def __len__(self) -> int:
        return len(self._live)

    def add(self, request: Request) -> None:
        """Watch a request; one without a deadline is passed over."""
        if request.deadline_s == inf:
            return
        self._live[request] = None
        if request.deadline_s < self._rings_s:
            self._set(request.deadline_s)

    def discard(self, request: Request) -> None:
        """Watch a request no more."""
        self._live.pop(request, None)

    def close(self) -> None:
        """Watch nothing more."""
        self._live.clear()
        self._set(inf)

    def _set(self, rings_s: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._rings_s = rings_s
        if rings_s < inf:
            delay_s = max(rings_s - self._clock(), RESOLUTION_S)
            self._timer = asyncio.get_running_loop().call_later(delay_s, self._ring)

    def _ring(self) -> None:
        now_s = self._clock()
        expired = [request for request in self._live if request.deadline_s <= now_s]
        for request in expired:
            del self._live[request]
            self._expire(request)
        self._set(min((request.deadline_s for request in self._live), default=inf))
