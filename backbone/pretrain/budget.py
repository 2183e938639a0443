"""How long pre-training goes on, and the learning rate on the way: by steps (repeatable) or by the clock."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Budget", "ClockBudget", "StepBudget", "learning_rate_at"]

_WARM_UP = 0.03


class Budget(Protocol):
    """Says how much of the run is over."""

    def used(self, step: int) -> float:
        """Return the share of the run that is over before a step: 0 at its beginning, 1 or more at its end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StepBudget:
    """So many steps: the same seed gives the same weights.

    >>> StepBudget(steps=200).used(50)
    0.25
    """

    steps: int

    def used(self, step: int) -> float:
        """Return the share of the steps that are done."""
        return step / self.steps


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockBudget:
    """So many seconds, however many steps they are: for a machine that others use too.

    Attributes:
        seconds: how long.
        clock: monotonic seconds.
        started: what the clock said at the beginning.
    """

    seconds: float
    clock: Callable[[], float]
    started: float

    def used(self, step: int) -> float:  # noqa: ARG002 - the clock alone decides
        """Return the share of the seconds that are gone."""
        return (self.clock() - self.started) / self.seconds


def learning_rate_at(used: float, peak: float) -> float:
    """Return the learning rate: a linear rise, then a cosine to zero (Loshchilov & Hutter 2017).

    >>> [round(learning_rate_at(used, 1.0), 2) for used in (0.015, 0.03, 0.515, 1.0)]
    [0.5, 1.0, 0.5, 0.0]
    """
    if used < _WARM_UP:
        return peak * max(used, 1e-3) / _WARM_UP
    return peak * (1 + math.cos(math.pi * min(1.0, (used - _WARM_UP) / (1 - _WARM_UP)))) / 2
