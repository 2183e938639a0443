"""Find the row that breaks a batch, so that its neighbours get their answers."""

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

__all__ = ["in_halves"]

T = TypeVar("T")


def in_halves(
    rows: Sequence[int], attempt: Callable[[Sequence[int]], T]
) -> Iterator[tuple[Sequence[int], T | Exception]]:
    """Try all rows together; what fails is tried again in halves, down to single rows.

    What fails on every row, whichever it is, must not be tried 2 n times. So as long as nothing has succeeded only
    log2(n) + 1 failures are looked into, just enough to come down to one row. After that each of the pieces that are
    left, log2(n) at most, is tried once and as a whole. The first success lifts the bound: something works, and what
    does not is to be found. So one bad row never costs another one its answer; more than log2(n) bad ones can.

    Args:
        rows: positions in a batch, at least one.
        attempt: does the work on some of them, or raises.

    Yields:
        Pieces that together are ``rows``, in order, each with what ``attempt`` returned for it, or with its error.

    >>> def halve(rows):
    ...     return [8 // row for row in rows]
    >>> [(rows, str(outcome)) for rows, outcome in in_halves([1, 2, 0, 4], halve)]
    [([1, 2], '[8, 4]'), ([0], 'integer division or modulo by zero'), ([4], '[2]')]
    """
    failures_left = (len(rows) - 1).bit_length() + 1
    pending = [rows]
    while pending:
        piece = pending.pop()
        try:
            outcome = attempt(piece)
        except Exception as error:
            failures_left -= 1
            if len(piece) > 1 and failures_left >= 0:
                middle = len(piece) // 2
                pending += [piece[middle:], piece[:middle]]
            else:
                yield piece, error
        else:
            failures_left = 2 * len(rows)
            yield piece, outcome
