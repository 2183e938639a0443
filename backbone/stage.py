"""A stage: a piece of network with named, typed inputs and outputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

__all__ = ["Stage", "TensorDeclaration", "run_path"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDeclaration:
    """A named tensor: its element type and its axes; a string names a dynamic axis, ``"N"`` (rows) comes first."""

    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | str, ...]


class Stage(nn.Module):
    """Part of a backbone, or a head; run as a unit.

    ``forward`` takes its declared inputs in order and returns its declared outputs in order, as a tuple.
    ``architecture`` is JSON: what, with the weights, rebuilds the module; it is part of the stage's identity.
    """

    name: str
    architecture: dict[str, Any]
    inputs: tuple[TensorDeclaration, ...]
    outputs: tuple[TensorDeclaration, ...]

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs from the inputs."""
        raise NotImplementedError

    def block_parts(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Return the modules of each block in order: what ``architecture["blocks"]`` counts.

        What follows the last block of a backbone belongs to that block; what precedes the first one, to none.
        """
        raise NotImplementedError


def run_path(stages: Sequence[Stage], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Run stages one after the other; each reads its inputs by name and adds its outputs by name.

    Args:
        stages: the path, from input to answer.
        tensors: what the first stages read, by name, each with N rows.

    Returns:
        Every tensor of the path by name; an output replaces an earlier tensor of the same name.
    """
    known = dict(tensors)
    for stage in stages:
        results = stage(*(known[declared.name] for declared in stage.inputs))
        known.update(zip((declared.name for declared in stage.outputs), results, strict=True))
    return known
