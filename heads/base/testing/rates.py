"""A rate with how sure it is: so many held, of so many."""

import math
from dataclasses import dataclass

__all__ = ["Rate"]

_Z = 1.959964  # the normal distribution has 95 % of its mass within so many standard deviations


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
        n, p, z2 = self.of, self.share, _Z**2
        middle = (p + z2 / (2 * n)) / (1 + z2 / n)
        half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
        return max(0.0, middle - half), min(1.0, middle + half)

    def __str__(self) -> str:
        low, high = self.interval
        return f"{self.share:.3f} ({self.held} of {self.of}; 95 % interval {low:.3f} to {high:.3f})"
