"""Serving: what is live in a zoo, answered over gRPC by one engine that runs every shared prefix once a batch.

``load_plan`` loads a ``Plan`` (the forest of stages that the live versions share) onto a runtime; the ``Engine``
batches the rows of all callers, within ``Limits``, and walks the plan. Handlers and servicers around it turn
requests into rows and outputs into answers. Nothing here imports torch but the TorchScript runtime, and nothing
imports training code: what is served comes out of the zoo as data. Public: ``Engine``, ``Limits``, ``LoadedPlan``,
``Plan``, ``ServedVersion``, ``load_plan``.
"""

from serving.batching import Limits
from serving.engine import Engine
from serving.loader import load_plan
from serving.plan import LoadedPlan, Plan, ServedVersion

__all__ = ["Engine", "Limits", "LoadedPlan", "Plan", "ServedVersion", "load_plan"]
