"""Where a backbone is cut: split points to ranges of blocks."""

from collections.abc import Sequence
from itertools import pairwise

from backbone.errors import InvalidSplit

__all__ = ["DEFAULT_STAGES", "block_ranges"]

DEFAULT_STAGES = 3
"""How many stages a backbone is cut into when nobody says where."""


def block_ranges(blocks: int, split: Sequence[int] = ()) -> tuple[tuple[int, int], ...]:
    """Return the (first, end) range of blocks of every stage.

    Args:
        blocks: how many blocks the model has, at least 1.
        split: block indices at which a new stage begins, rising. 0 begins the first stage in any case and may be
            left out, so ``(0,)`` is one single stage. Empty: three stages of about equal numbers of blocks.

    Raises:
        InvalidSplit: an index is out of range, or they do not rise.

    >>> block_ranges(6)
    ((0, 2), (2, 4), (4, 6))
    >>> block_ranges(12, (10,))
    ((0, 10), (10, 12))
    >>> block_ranges(4, (0,))
    ((0, 4),)
    """
    starts = list(split) or _even_starts(blocks)
    if starts[0] != 0:
        starts.insert(0, 0)
    ends = [*starts[1:], blocks]
    if any(start >= end for start, end in zip(starts, ends, strict=True)) or starts[0] < 0:
        raise InvalidSplit(
            f"Split {tuple(split)} does not cut a model of {blocks} blocks: expected rising block indices between "
            f"1 and {blocks - 1}. Each one is the first block of a new stage."
        )
    return tuple(pairwise([*starts, blocks]))


def _even_starts(blocks: int) -> list[int]:
    stages = min(DEFAULT_STAGES, blocks)
    return [round(stage * blocks / stages) for stage in range(stages)]
