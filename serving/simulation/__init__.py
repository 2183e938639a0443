"""The batching policy in virtual time: traffic that was recorded or made up, and what came of it.

``simulate`` runs the real ``decide``, ``admit``, ``Queues`` and ``CostModel`` against a device that only counts. Any
change of the policy is tried here first. ``TraceWriter`` records what a server is asked; ``read_trace`` reads it back.
Public: ``Ask``, ``ClosedLoop``, ``Outcome``, ``TraceWriter``, ``Truth``, ``read_trace``, ``simulate``.
"""

from serving.simulation.outcome import Outcome
from serving.simulation.simulator import simulate
from serving.simulation.trace import TraceWriter, read_trace
from serving.simulation.traffic import Ask, ClosedLoop
from serving.simulation.truth import Truth

__all__ = ["Ask", "ClosedLoop", "Outcome", "TraceWriter", "Truth", "read_trace", "simulate"]
