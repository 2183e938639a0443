"""How urgent a caller says a row is."""

from enum import IntEnum

__all__ = ["Priority"]


class Priority(IntEnum):
    """Orders the rows of one team; it never takes from another team's share."""

    HIGH = 0
    NORMAL = 1
    LOW = 2
