"""A small stage as a graph for several heads at once: the weights are inputs, with a leading axis of heads, H.

Its bytes hold no weights and no names of a head, so heads of one architecture have one graph between them. What
depends on no weights (pooling, normalisation) is computed once for all of them.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from zoo.errors import ExportFailed
from zoo.export import onnx_graph
from zoo.export.declared import DeclaredModule, DeclaredTensor, growable_example, resized
from zoo.export.sessions import OnnxSession
from zoo.manifest import graph_output_names

__all__ = ["MOST_PARAMETERS", "WEIGHT", "to_group"]

MOST_PARAMETERS = 2**18
"""Of the largest stage that is worth it: from about here on, its own run is what it costs, and not its start."""

WEIGHT = "weight:"
"""What stands before the name of a tensor of the stage's safetensors file where it is an input of the graph."""

_HEADS = (1, 2, 3)
_ROWS_AND_LENGTHS = ((1, 1), (5, 7))
_CLOSE = 1e-3
_DTYPES = {torch.float32: "float32", torch.int64: "int64"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Declared:
    name: str
    dtype: Literal["float32", "int64"]
    shape: tuple[int | str, ...]


class _Group(nn.Module):
    """A stage as a function of its inputs and of several heads' weights; declared as a stage is, for the exporter."""

    def __init__(self, stage: DeclaredModule) -> None:
        super().__init__()
        object.__setattr__(self, "_stage", stage)  # not as a part: its own weights are none of the group's
        self._weights = {name: tensor.detach() for name, tensor in sorted(stage.state_dict().items())}
        self.name = stage.name
        self.architecture: dict[str, Any] = stage.architecture
        self._shared: tuple[DeclaredTensor, ...] = tuple(stage.inputs)
        self.inputs = (*self._shared, *(_weight(name, tensor) for name, tensor in self._weights.items()))
        self.outputs = tuple(
            _Declared(name=each.name, dtype=each.dtype, shape=("H", *each.shape)) for each in stage.outputs
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Take the stage's inputs and stacked weights; return its outputs, each (H, N, …)."""
        count = len(self._shared)

        def one(*weights: Tensor) -> tuple[Tensor, ...]:
            return self.of_one(tensors[:count], dict(zip(self._weights, weights, strict=True)))

        return torch.vmap(one)(*tensors[count:])

    def of_one(self, inputs: Sequence[Tensor], weights: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Run the stage with one head's weights in the place of its own."""
        stage = self.__dict__["_stage"]
        return cast("tuple[Tensor, ...]", torch.func.functional_call(stage, dict(weights), tuple(inputs)))

    def heads(self, count: int) -> list[dict[str, Tensor]]:
        """Return the weights of as many heads, all different: the stage's own, and some made from them."""
        return [{name: _varied(tensor, head) for name, tensor in self._weights.items()} for head in range(count)]


def to_group(stage: DeclaredModule, example: Mapping[str, Tensor]) -> bytes | None:
    """Export a stage as a graph for several heads at once, checked against the stage itself.

    Args:
        stage: an ``nn.Module`` in eval mode, on the CPU.
        example: named tensors, its inputs among them, of any size but 0.

    Returns:
        The graph: it takes the stage's inputs, and each weight (H, …) as ``weight:<name>``; its outputs are (H, N, …).
        None if the stage is too large to gain by it, or cannot be had in this form; the log says why.
    """
    if reason := _unfit(stage):
        _log.info("stage %r is stored without a form for several heads at once: %s", stage.name, reason)
        return None
    group = _Group(stage)
    names = graph_output_names([each.name for each in stage.inputs], [each.name for each in stage.outputs])
    stacked = {f"{WEIGHT}{name}": torch.stack([tensor] * 2) for name, tensor in group.heads(1)[0].items()}
    try:
        traced = growable_example(group, {**example, **stacked})
        data = onnx_graph.to_onnx(group, traced, names)
        _check(group, traced, data)
    except ExportFailed as error:
        _log.info("stage %r is stored without a form for several heads at once: %s", stage.name, error)
        return None
    return data


def _unfit(stage: DeclaredModule) -> str:
    """Return why it is no use trying; empty if it is."""
    assert isinstance(stage, nn.Module)
    weights = stage.state_dict()
    count = sum(tensor.numel() for tensor in weights.values())
    if not 0 < count <= MOST_PARAMETERS:
        return f"it has {count:,} parameters; a group is for 1 to {MOST_PARAMETERS:,}."
    if any(isinstance(part, nn.modules.conv._ConvNd) for part in stage.modules()):
        # With weights for each head it is a grouped convolution, and ONNX has their count as a constant.
        return "a convolution cannot have a free number of heads in ONNX."
    if others := {str(tensor.dtype) for tensor in weights.values() if tensor.dtype not in _DTYPES}:
        return f"it has weights of {', '.join(sorted(others))}."
    return ""


def _weight(name: str, tensor: Tensor) -> _Declared:
    dtype = cast("Literal['float32', 'int64']", _DTYPES[tensor.dtype])
    return _Declared(name=f"{WEIGHT}{name}", dtype=dtype, shape=("H", *tensor.shape))


def _varied(tensor: Tensor, head: int) -> Tensor:
    return tensor * (1 + head / 4) + head / 16 if head and tensor.is_floating_point() else tensor


def _check(group: _Group, traced: Sequence[Tensor], data: bytes) -> None:
    """Run the graph for several counts of heads and sizes, and compare with the stage run once for each head."""
    session = OnnxSession(data)
    shared = group.inputs[: len(traced) - len(group.heads(1)[0])]
    for rows, length in _ROWS_AND_LENGTHS:
        sizes = {str(axis): length for each in shared for axis in each.shape} | {"N": rows}
        inputs = [resized(tensor, each, sizes) for each, tensor in zip(shared, traced, strict=False)]
        for count in _HEADS:
            heads = group.heads(count)
            stacked = {f"{WEIGHT}{name}": torch.stack([head[name] for head in heads]).numpy() for name in heads[0]}
            named = {each.name: tensor.numpy() for each, tensor in zip(shared, inputs, strict=True)}
            with torch.no_grad():
                one_by_one = [group.of_one(inputs, head) for head in heads]
            expected = [torch.stack(each) for each in zip(*one_by_one, strict=True)]
            found = _run(session, {**named, **stacked})
            for right, result in zip(expected, found, strict=True):
                if right.shape != result.shape or not np.allclose(result, right, rtol=_CLOSE, atol=_CLOSE):
                    raise ExportFailed(
                        f"for {count} heads, {rows} rows and lengths of {length} it answers otherwise than one by one."
                    )


def _run(session: OnnxSession, arrays: Mapping[str, Any]) -> Sequence[Any]:
    try:
        return session(arrays)
    except Exception as error:  # ONNX Runtime has a class per status code, and no common one of its own
        raise ExportFailed(f"it does not run: {error}") from error
