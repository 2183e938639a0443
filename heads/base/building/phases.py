"""How far a build is, and how long each part of it took."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["Listener", "Phases"]

Listener = Callable[[str, int, int], None]
"""Told the name of the phase, how much of it is done, and of how much; (name, 0, 0) when it begins."""


class Phases:
    """Times the phases of a build, and passes progress on.

    Args:
        listener: told about progress.
        clock: monotonic seconds.

    >>> phases = Phases(clock=iter([1.0, 3.5]).__next__)
    >>> with phases.phase("train"):
    ...     phases.at(1, 2)
    >>> phases.seconds
    {'train': 2.5}
    """

    def __init__(
        self, listener: Listener = lambda _name, _done, _total: None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds: dict[str, float] = {}
        self.notes: list[str] = []
        """What whoever builds should know, and what stopped nothing."""
        self._listener = listener
        self._clock = clock
        self._name = ""

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Time the body under a name."""
        self._name = name
        self._listener(name, 0, 0)
        started = self._clock()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started

    def at(self, done: int, total: int, line: str = "") -> None:
        """Say how far the current phase is, and a line about it."""
        self._listener(f"{self._name} · {line}" if line else self._name, done, total)
