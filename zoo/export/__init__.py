"""Stages to bytes that can be stored and served, and the proof that they answer like the torch model.

``export_stage`` turns a ``DeclaredModule`` into an ``ExportedStage``: ONNX, TorchScript and safetensors, other
precisions if they are asked, and of a small stage a graph that runs several of its kind at once, with the manifest
that pins them; ``export_path`` does so for stages in a row. ``measure_parity`` runs exported paths on a
``ParityBench``, on batches that ``cycle_batches`` lays out, and ``check_parity`` refuses what is too far off.
This is the only part of the zoo that imports torch.
"""

from zoo.export.declared import DeclaredModule
from zoo.export.parity import ParityBench, check_parity, cycle_batches, measure_parity
from zoo.export.stage import ExportedStage, export_path, export_stage

__all__ = [
    "DeclaredModule",
    "ExportedStage",
    "ParityBench",
    "check_parity",
    "cycle_batches",
    "export_path",
    "export_stage",
    "measure_parity",
]
