"""How long brief batches let rows gather, where starting one costs more than it computes.

A batch that computes for less time than it takes to begin and end it is worth holding back for a moment, but only if
rows come meanwhile. Whether they do is tried: as long as waiting brought some the last time, the next batch waits too.
"""

__all__ = ["GATHER_S", "Gathering"]

GATHER_S = 2e-3
"""How long a batch waits for further rows, if it does. uvloop counts in whole milliseconds: 1 to 2 ms."""

WORTH = 4
"""How many rows must have come meanwhile for the next batch to wait too. A caller that asks again brings none."""

LEFT_OUT = 64
"""How many batches leave at once after waiting was in vain, before it is tried again."""


class Gathering:
    """Decides whether the next brief batch waits for more rows.

    >>> gathering = Gathering()
    >>> gathering.wait_s(waiting=1)
    0.002
    >>> gathering.ended(waiting=1)  # nobody came: leave at once from now on
    >>> gathering.wait_s(waiting=1)
    0.0
    """

    def __init__(self) -> None:
        self._began_with = 0
        self._left_out = 0

    def wait_s(self, waiting: int) -> float:
        """Return how many seconds the next batch waits; 0 if it is to leave at once.

        Args:
            waiting: how many rows wait.
        """
        if self._left_out:
            self._left_out -= 1
            return 0.0
        self._began_with = waiting
        return GATHER_S

    def ended(self, waiting: int) -> None:
        """Hear how many rows wait when a wait has ended."""
        self._left_out = 0 if waiting - self._began_with >= WORTH else LEFT_OUT
