"""What callers ask of a simulated server, and callers that ask: recorded, at random, in bursts, in closed loops."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf

from serving.batching.priority import Priority

__all__ = ["Ask", "ClosedLoop", "Lengths", "bursts", "poisson"]

Lengths = Callable[[random.Random], int]
"""Draws the length of a row in tokens."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """One request: equally long rows of one team.

    Attributes:
        at_s: when it comes.
        team: whose it is.
        tokens: the length of each row.
        rows: how many rows it brings.
        priority: their place among the team's.
        timeout_s: how long its answer is of use.
        cancel_s: after how long the caller leaves.
        paths: the nodes that its rows visit.
        start: where they start; rows of one start can share a batch.
        nbytes: what each row holds.
    """

    at_s: float = 0.0
    team: str
    tokens: int = 1
    rows: int = 1
    priority: Priority = Priority.NORMAL
    timeout_s: float = inf
    cancel_s: float = inf
    paths: tuple[str, ...] = ("body",)
    start: str = "root"
    nbytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """Callers who each ask again when they were answered, or refused.

    Attributes:
        like: what they ask; its ``at_s`` is when they begin.
        callers: how many.
        lengths: draws the length of each row.
        think_s: how long each waits between an answer and the next request.
    """

    like: Ask
    callers: int
    lengths: Lengths
    think_s: float = 0.0002


def poisson(like: Ask, *, rate: float, until_s: float, lengths: Lengths, seed: int) -> Iterator[Ask]:
    """Yield requests at random moments, ``rate`` a second, from ``like.at_s`` until ``until_s``."""
    chance = random.Random(seed)  # noqa: S311 - a simulation draws the same again
    at_s = like.at_s + chance.expovariate(rate)
    while at_s < until_s:
        yield replace(like, at_s=at_s, tokens=lengths(chance))
        at_s += chance.expovariate(rate)


def bursts(like: Ask, *, rows: int, every_s: float, until_s: float, lengths: Lengths, seed: int) -> Iterator[Ask]:
    """Yield ``rows`` requests at once, every ``every_s`` seconds, from ``like.at_s`` until ``until_s``."""
    chance = random.Random(seed)  # noqa: S311 - a simulation draws the same again
    at_s = like.at_s
    while at_s < until_s:
        for _ in range(rows):
            yield replace(like, at_s=at_s, tokens=lengths(chance))
        at_s += every_s
