"""How many front ends a server has, and what they need to know."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import TypeAdapter

from serving.handlers.access import LogStyle

__all__ = ["STATE", "FrontEndSettings", "State", "automatic_count"]

FEWEST_CORES = 8
"""On fewer, one process does it all: handing rows over costs more than it frees."""

CORES_EACH = 4
MOST = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndSettings:
    """Where callers are talked to: in the engine's process, or in ``count`` others, which open the zoo themselves."""

    count: int = 0
    zoo: str = ""
    """The zoo's folder."""
    database_url: str = ""
    blobs_url: str = ""
    access_log: LogStyle = "text"
    """How each request's log line is written, if at all."""
    trace_endpoint: str = ""
    """Where spans are sent; nowhere if it is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """What is true of the whole server, and said by each front end."""

    admits: bool = False
    """Whether requests are let in: a plan is loaded."""
    health: Mapping[str, bool] = field(default_factory=dict)
    """By service: whether it serves. Only what differs from whether requests are let in."""


STATE = TypeAdapter(State)
"""Reads and writes it as JSON."""


def automatic_count(cores: int) -> int:
    """Return how many front ends suit a machine on which this process may use so many cores.

    >>> [automatic_count(cores) for cores in (2, 7, 8, 32, 192)]
    [0, 0, 2, 8, 16]
    """
    return 0 if cores < FEWEST_CORES else min(cores // CORES_EACH, MOST)
