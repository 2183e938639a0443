"""Ready tensors: checked against their declaration and otherwise left alone."""

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import InvalidInput
from zoo.manifest import DType, TensorPreprocessing, TensorSpec
from zoo.preprocessing.row import Arrays, Raw, Row, digest_tensors

__all__ = ["TensorPreprocessor", "check_tensors", "describe_raw"]

REMEMBERED_TYPES = 1024


class TensorPreprocessor:
    """Takes ready tensors and nothing else."""

    def __init__(self, spec: TensorPreprocessing) -> None:
        self.spec = spec
        self.declared = spec.tensors

    def __call__(self, raw: Raw) -> Row:
        """Check the tensors; see ``Preprocessor``."""
        if not isinstance(raw, Mapping):
            names = ", ".join(spec.name for spec in self.declared)
            raise InvalidInput(f"This model takes ready tensors ({names}); got {describe_raw(raw)}.")
        sizes = check_tensors(raw, self.declared)
        return Row(tensors=dict(raw), length=sizes.get("T", 1), digest=digest_tensors(raw))


def describe_raw(raw: object) -> str:
    """Name an input for an error message, without its content.

    >>> describe_raw(b"1234")
    'the bytes of an image'
    """
    if isinstance(raw, str):
        return "text"
    if isinstance(raw, bytes):
        return "the bytes of an image"
    if isinstance(raw, Mapping):
        return "ready tensors"
    return f"a value of type {type(raw).__name__}"


def check_tensors(tensors: Arrays, declared: Sequence[TensorSpec]) -> dict[str, int]:
    """Check one row's tensors against their declaration.

    Args:
        tensors: by name, without the N axis.
        declared: as a batch has them, with the N axis.

    Returns:
        The size of each dynamic axis, by its name.

    Raises:
        InvalidInput: names, element types or shapes differ, an axis has two sizes or none, or a number is not finite.
    """
    _check_names(tensors, declared)
    sizes: dict[str, int] = {}
    for spec in declared:
        _check_tensor(spec, tensors[spec.name], sizes)
    return sizes


def _check_names(tensors: Arrays, declared: Sequence[TensorSpec]) -> None:
    expected = [spec.name for spec in declared]
    for name in tensors:
        if name not in expected:
            close = get_close_matches(name, expected, n=1, cutoff=0.4)
            hint = f" Did you mean {close[0]!r}?" if close else ""
            raise InvalidInput(f"No tensor is called {name!r}; the model takes {', '.join(expected)}.{hint}")
    missing = [name for name in expected if name not in tensors]
    if missing:
        raise InvalidInput(f"Missing {', '.join(missing)}; the model takes {', '.join(expected)}. Send all of them.")


def _check_tensor(spec: TensorSpec, array: NDArray[Any], sizes: dict[str, int]) -> None:
    if not isinstance(array, np.ndarray):
        raise InvalidInput(f"Tensor {spec.name!r} is a NumPy array {_expected(spec)}; got a {type(array).__name__}.")
    axes = spec.shape[1:]
    if not _is(array.dtype, spec.dtype) or array.ndim != len(axes):
        raise InvalidInput(
            f"Tensor {spec.name!r} of one row is {_expected(spec)}; got {_found(array)}. Convert it before sending."
        )
    for axis, size in zip(axes, array.shape, strict=True):
        if size == 0 or size != (axis if isinstance(axis, int) else sizes.setdefault(axis, size)):
            clash = f", with {axis} = {sizes[axis]} as in the tensors before it" if axis in sizes and size else ""
            raise InvalidInput(
                f"Tensor {spec.name!r} of one row is {_expected(spec)}{clash}, no axis empty; got {_found(array)}."
            )
    if array.dtype.kind == "f" and np.count_nonzero(np.isfinite(array)) < array.size:
        raise InvalidInput(f"Tensor {spec.name!r} holds a NaN or an infinity; every number must be finite.")


@lru_cache(REMEMBERED_TYPES)
def _is(dtype: np.dtype[Any], name: DType) -> bool:
    """Compare names, which tell byte orders apart; NumPy takes longer to write one down than all the rest takes."""
    return str(dtype) == name


def _expected(spec: TensorSpec) -> str:
    return f"({', '.join(map(str, spec.shape[1:]))}) {spec.dtype}"


def _found(array: NDArray[Any]) -> str:
    return f"({', '.join(map(str, array.shape))}) {array.dtype}"
