"""Who may come in: everybody, from when the server has loaded until it drains."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from serving.errors import Loading, Unavailable

__all__ = ["Admission"]


class Admission:
    """Counts the requests in flight, and lets no new one in once it is closed. Lives on one event loop.

    Args:
        loading: let nobody in before it is opened.
    """

    def __init__(self, *, loading: bool = False) -> None:
        self.is_open = not loading
        self.is_loading = loading
        self.in_flight = 0
        self._empty = asyncio.Event()
        self._empty.set()
        self._closed = asyncio.Event()

    @property
    def is_closed(self) -> bool:
        """Whether nobody is let in any more."""
        return self._closed.is_set()

    @contextmanager
    def enter(self) -> Iterator[None]:
        """Hold a place for the length of one request.

        Raises:
            Loading: the server has not loaded yet.
            Unavailable: the server drains.
        """
        self.check_loaded()
        if not self.is_open:
            raise Unavailable("The server is stopping and takes no new requests; ask another one, or try again soon.")
        self.in_flight += 1
        self._empty.clear()
        try:
            yield
        finally:
            self.in_flight -= 1
            if not self.in_flight:
                self._empty.set()

    def check_loaded(self) -> None:
        """Raise Loading if there is nothing yet that could be asked."""
        if self.is_loading:
            raise Loading("The server is still loading and answers in a moment; try again then, or ask another one.")

    def open(self) -> None:
        """Let requests in; the server has loaded."""
        self.is_open = True
        self.is_loading = False

    def close(self) -> None:
        """Let nobody in any more; those inside finish."""
        self.is_open = False
        self._closed.set()

    async def wait_until_closed(self) -> None:
        """Return when nobody is let in any more."""
        await self._closed.wait()

    async def wait_until_empty(self) -> None:
        """Return when the last request in flight has left."""
        await self._empty.wait()
