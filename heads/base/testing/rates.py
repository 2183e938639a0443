"""A rate with how sure it is: so many held, of so many."""

from dataclasses import dataclass

from heads.base.inspect.statistics import wilson

__all__ = ["Rate"]


@dataclass(frozen=True, slots=True)
class Rate:
    """How many of a number of cases held.

    Attributes:
        held: how many.
        of: of how many, at least one.

    >>> str(Rate(9, 10))
    '0.900 (9 of 10; 95 % interval 0.596 to 0.982)'
    """

    held: int
    of: int

    @property
    def share(self) -> float:
        """The share that held, 0 to 1."""
        return self.held / self.of

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the share by Wilson's score (Wilson 1927): sound for few cases and for shares near 1.

        >>> low, high = Rate(10, 10).interval
        >>> round(low, 3), round(high, 3)
        (0.722, 1.0)
        """
        found = wilson(self.held, self.of)
        return found.low, found.high

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.share:.3f} ({self.held} of {self.of}; 95 % interval {low:.3f} to {high:.3f})"
