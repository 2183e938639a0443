"""How much of the waiting work is done each second, measured while there is always some."""

__all__ = ["Pace"]

WINDOW_S = 0.25
"""The backlog that a measurement needs, without a break: long beside a batch, short beside a caller's patience."""

LEARN = 0.5
"""What the newest window weighs."""


class Pace:
    """Seconds of predicted work that leave the queues each second.

    What batches are predicted to take leaves out much: the cores that other threads take, rows that could not share a
    large batch, waits for the interpreter. A server that believed the prediction under overload would promise twice
    what it can do, and answer everybody too late.

    Args:
        lanes: what is taken for it until it was measured: as many seconds a second as batches run side by side.
    """

    def __init__(self, lanes: int) -> None:
        self._lanes = lanes
        self.rate = float(lanes)
        """Never more than the lanes."""
        self._began_s = 0.0
        self._work_s = 0.0
        self._is_backlogged = False

    def left(self, now_s: float, work_s: float, *, backlog: bool) -> None:
        """Hear that rows left the queues.

        Args:
            now_s: the time.
            work_s: the predicted work of those that ran, as the queues count it.
            backlog: whether rows were left waiting.

        >>> pace = Pace(lanes=2)
        >>> for tenth in range(30):
        ...     pace.left(tenth / 10, 0.05, backlog=True)
        >>> round(pace.rate, 1)
        0.5
        """
        if not backlog:
            self._is_backlogged = False
            return
        if not self._is_backlogged:
            self._is_backlogged, self._began_s, self._work_s = True, now_s, 0.0
            return
        self._work_s += work_s
        elapsed_s = now_s - self._began_s
        if elapsed_s >= WINDOW_S:
            measured = min(self._lanes, self._work_s / elapsed_s)
            self.rate += LEARN * (measured - self.rate)
            self._began_s, self._work_s = now_s, 0.0
