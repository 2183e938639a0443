"""Adapters to real backbones, cut at block boundaries into stages with named, typed inputs and outputs.

``load_backbone`` takes ``minilm``, a transformers encoder (``hf:…``) or a timm model (``timm:…``) and returns a
``LoadedBackbone``: its stages, what its inputs need done to them (``Tokenization`` or ``ImageTransform``) and a
digest of what it was made from. ``run_path`` runs stages, chained; they give the uncut model's bits. Everything
it refuses is a ``BackboneError``. Imports nothing of ours.
"""

from backbone.errors import BackboneError
from backbone.load import LoadedBackbone, load_backbone
from backbone.preprocessing import ImageTransform, Tokenization
from backbone.stage import Stage, TensorDeclaration, run_path

__all__ = [
    "BackboneError",
    "ImageTransform",
    "LoadedBackbone",
    "Stage",
    "TensorDeclaration",
    "Tokenization",
    "load_backbone",
    "run_path",
]
