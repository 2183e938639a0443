"""What the handlers of a front end count, gathered for a moment and then told to the engine, which counts for all."""

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from serving.answering import Counting
from serving.plan import ServedVersion
from serving.statistics import ShadowOutcome

__all__ = ["Tally", "add_up"]

GATHER_S = 0.05


class Tally:
    """Is ``Counting``, on one event loop.

    Args:
        tell: sends what was gathered.
    """

    def __init__(self, tell: Callable[[bytes], None]) -> None:
        self._tell = tell
        self._calls: list[tuple[str, float, str, list[str]]] = []
        self._shadows: list[tuple[str, ShadowOutcome]] = []
        self._telling: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def record_call(self, rpc: str, seconds: float, code: str, refused: Sequence[ServedVersion] = ()) -> None:
        """Add one call of an rpc."""
        self._calls.append((rpc, seconds, code, [version.digest for version in refused]))
        self._soon()

    def record_shadow(self, shadow: ServedVersion, outcome: ShadowOutcome) -> None:
        """Add one row of a shadow."""
        self._shadows.append((shadow.digest, outcome))
        self._soon()

    def tell(self) -> None:
        """Send now what was gathered."""
        if self._telling is not None:
            self._telling.cancel()
            self._telling = None
            self._tell(json.dumps({"calls": self._calls, "shadows": self._shadows}).encode())
            self._calls, self._shadows = [], []

    def _soon(self) -> None:
        if self._telling is None:
            self._telling = self._loop.call_later(GATHER_S, self.tell)


def add_up(told: bytes, versions: Mapping[str, ServedVersion], statistics: Counting) -> None:
    """Count what a front end told.

    Args:
        told: what its tally sent.
        versions: by digest; one that is not among them is served no more, and not counted any more.
        statistics: counts.
    """
    counted: dict[str, Any] = json.loads(told)
    for rpc, seconds, code, refused in counted["calls"]:
        statistics.record_call(rpc, seconds, code, [versions[digest] for digest in refused if digest in versions])
    for digest, outcome in counted["shadows"]:
        if digest in versions:
            statistics.record_shadow(versions[digest], outcome)
