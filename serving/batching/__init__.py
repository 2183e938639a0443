"""Which rows run next, and which may wait: a pure policy, and the queues that it looks at.

``decide`` says which of the waiting rows leave as the next batch, from the queues, the time, the ``Limits`` and what
things cost alone: no asyncio, no clock, no network. ``Queues`` keeps the rows that wait and whose turn it is;
``Queues.settle`` does what was decided. ``admit`` refuses what has no room or no time. ``CostModel`` learns what
batches cost; ``Gathering`` holds back brief batches. Public: ``CostModel``, ``Decision``, ``Gathering``, ``Limits``,
``Priority``, ``Queues``, ``WaitingRow``, ``admit``, ``check_room``,
``check_wait``, ``decide``.
"""

from serving.batching.admission import admit, check_room, check_wait
from serving.batching.cost import CostModel
from serving.batching.gathering import Gathering
from serving.batching.limits import Limits
from serving.batching.policy import Decision, decide
from serving.batching.priority import Priority
from serving.batching.queues import Queues
from serving.batching.rows import WaitingRow

__all__ = [
    "CostModel",
    "Decision",
    "Gathering",
    "Limits",
    "Priority",
    "Queues",
    "WaitingRow",
    "admit",
    "check_room",
    "check_wait",
    "decide",
]
