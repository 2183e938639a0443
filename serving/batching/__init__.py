"""Which rows run next: a pure policy, and the queues that it looks at.

``decide`` says which of the waiting rows leave as the next batch, from the queues, the time and the ``Limits`` alone:
no asyncio, no clock, no network. ``Queues`` keeps the rows that wait, one queue for each root of the plan. Public:
``Decision``, ``Limits``, ``Priority``, ``Queues``, ``WaitingRow``, ``decide``.
"""

from serving.batching.policy import Decision, Limits, WaitingRow, decide
from serving.batching.priority import Priority
from serving.batching.queues import Queues

__all__ = ["Decision", "Limits", "Priority", "Queues", "WaitingRow", "decide"]
