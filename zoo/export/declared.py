"""What can be exported: a torch module that declares its named, typed inputs and outputs."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol

from torch import Tensor

from zoo.errors import ExportFailed
from zoo.manifest import TensorSpec

__all__ = ["DeclaredModule", "DeclaredTensor", "dynamic_axes", "growable_example", "resized", "tensor_specs"]


class DeclaredTensor(Protocol):
    """A named tensor: element type, and axes in order; a string names a dynamic axis."""

    @property
    def name(self) -> str:
        """Its name on the path."""
        ...

    @property
    def dtype(self) -> Literal["float32", "int64"]:
        """Its element type."""
        ...

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Its axes; ``"N"``, the rows, comes first."""
        ...


class DeclaredModule(Protocol):
    """A stage, as far as exporting it goes; in fact always an ``nn.Module``."""

    name: str
    architecture: dict[str, Any]

    @property
    def inputs(self) -> Sequence[DeclaredTensor]:
        """What ``__call__`` takes, in order."""
        ...

    @property
    def outputs(self) -> Sequence[DeclaredTensor]:
        """What ``__call__`` returns, in order."""
        ...

    def __call__(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs from the inputs."""
        ...

    def state_dict(self) -> Mapping[str, Tensor]:
        """Return the weights by name."""
        ...


def tensor_specs(declared: Sequence[DeclaredTensor]) -> tuple[TensorSpec, ...]:
    """Return declarations as a manifest holds them."""
    return tuple(TensorSpec(name=each.name, dtype=each.dtype, shape=each.shape) for each in declared)


def dynamic_axes(declared: DeclaredTensor) -> dict[int, str]:
    """Return the positions and names of the axes whose size is free."""
    return {axis: size for axis, size in enumerate(declared.shape) if isinstance(size, str)}


def growable_example(stage: DeclaredModule, example: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
    """Return the stage's inputs from ``example``, fit to be traced.

    An exporter takes a size of 0 or 1 for a constant, and equal sizes of two axes for one axis. So every dynamic
    axis gets at least two entries, and axes of different names get different sizes, by repeating what is there.

    Args:
        stage: whose inputs are picked.
        example: named tensors, all of them with the same number of rows.

    Raises:
        ExportFailed: an input is missing, or two tensors disagree about the size of an axis.
    """
    missing = [declared.name for declared in stage.inputs if declared.name not in example]
    if missing:
        raise ExportFailed(
            f"The example for stage '{stage.name}' lacks {', '.join(missing)}; it has {', '.join(example) or 'none'}. "
            "Run the stages before it on the path's inputs first, as export_path does."
        )
    sizes: dict[str, int] = {}
    for declared in stage.inputs:
        for axis, name in dynamic_axes(declared).items():
            found = example[declared.name].shape[axis]
            if sizes.setdefault(name, found) != found:
                raise ExportFailed(
                    f"The example for stage '{stage.name}' has {found} entries on axis {name} of {declared.name}, and "
                    f"{sizes[name]} elsewhere; expected one size for {name}."
                )
    wanted = _distinct(sizes)
    return tuple(resized(example[declared.name], declared, wanted) for declared in stage.inputs)


def resized(tensor: Tensor, declared: DeclaredTensor, sizes: Mapping[str, int]) -> Tensor:
    """Return ``tensor`` with its dynamic axes cut, or filled up by repetition, to ``sizes``."""
    for axis, name in dynamic_axes(declared).items():
        times = -(-sizes[name] // tensor.shape[axis])
        repeated = tensor.repeat([times if each == axis else 1 for each in range(tensor.dim())])
        tensor = repeated.narrow(axis, 0, sizes[name])
    return tensor.contiguous()


def _distinct(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return the sizes, raised to at least two each until they all differ.

    >>> _distinct({"N": 1, "T": 2})
    {'N': 2, 'T': 3}
    """
    wanted: dict[str, int] = {}
    for name, size in sizes.items():
        size = max(size, 2)
        while size in wanted.values():
            size += 1
        wanted[name] = size
    return wanted
