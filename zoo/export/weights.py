"""Stage to safetensors: its weights alone, and the digest that is part of its identity."""

import torch
from safetensors import __version__ as safetensors_version
from safetensors.torch import save
from torch import Tensor

from zoo.export.declared import DeclaredModule

__all__ = ["count_parameters", "made_by", "to_safetensors"]


def made_by() -> str:
    """Return the tool that a safetensors artifact names."""
    return f"safetensors {safetensors_version}"


def to_safetensors(stage: DeclaredModule) -> bytes:
    """Return the stage's ``state_dict``; equal weights give equal bytes, in whatever order they are held.

    Weights held under two names are written twice.
    """
    return save({name: _copy(tensor) for name, tensor in sorted(stage.state_dict().items())})


def _copy(tensor: Tensor) -> Tensor:
    return tensor.detach().clone(memory_format=torch.contiguous_format)


def count_parameters(stage: DeclaredModule) -> int:
    """Return how many numbers the stage's weights hold."""
    return sum(tensor.numel() for tensor in stage.state_dict().values())
