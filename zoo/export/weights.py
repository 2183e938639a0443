"""Stage to safetensors: its weights alone, and the digest that is part of its identity."""

from safetensors import __version__ as safetensors_version
from safetensors.torch import save

from zoo.export.declared import DeclaredModule

__all__ = ["count_parameters", "made_by", "to_safetensors"]


def made_by() -> str:
    """Return the tool that a safetensors artifact names."""
    return f"safetensors {safetensors_version}"


def to_safetensors(stage: DeclaredModule) -> bytes:
    """Return the stage's ``state_dict``; equal weights give equal bytes, in whatever order they are held."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in sorted(stage.state_dict().items())})


def count_parameters(stage: DeclaredModule) -> int:
    """Return how many numbers the stage's weights hold."""
    return sum(tensor.numel() for tensor in stage.state_dict().values())
