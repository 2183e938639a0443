"""Rows to a batch."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.manifest import Preprocessing, TextPreprocessing
from zoo.preprocessing.row import Preprocessor, Row

__all__ = ["Allocate", "collate", "new_array", "padding_of", "stack"]

Allocate = Callable[[str, tuple[int, ...], np.dtype[Any]], NDArray[Any]]
"""Returns an array for the tensor of a name, of a shape and an element type; whatever is in it is overwritten."""


def new_array(_name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Allocate an array that nobody else has."""
    return np.empty(shape, dtype)


def collate(rows: Sequence[Row], preprocessor: Preprocessor, allocate: Allocate = new_array) -> dict[str, NDArray[Any]]:
    """Stack rows on a new first axis, padding each dynamic axis at its end to the longest row.

    Token ids are padded with the tokenizer's padding id, everything else with 0: a mask thus says "no token" there.

    Args:
        rows: at least one, all made by ``preprocessor``.
        preprocessor: says which tensors there are and what pads them.
        allocate: gives the memory for two rows or more; a single row is used where it lies.

    Returns:
        The declared tensors by name, each with ``len(rows)`` rows.
    """
    return {
        spec.name: stack(
            spec.name, [row.tensors[spec.name] for row in rows], padding_of(preprocessor.spec, spec.name), allocate
        )
        for spec in preprocessor.declared
    }


def padding_of(spec: Preprocessing, name: str) -> int:
    """Return what a tensor of a preprocessed input is padded with."""
    return spec.pad_id if isinstance(spec, TextPreprocessing) and name == "ids_NT" else 0


def stack(name: str, arrays: Sequence[NDArray[Any]], padding: int, allocate: Allocate = new_array) -> NDArray[Any]:
    """Stack arrays on a new first axis, padding every axis at its end to the longest.

    Args:
        name: whose arrays these are.
        arrays: at least one, all of one element type and number of axes.
        padding: what pads them.
        allocate: gives the memory; not called for one array, whose memory is used.

    >>> stack("ids_NT", [np.array([1, 2]), np.array([3])], 0).tolist()
    [[1, 2], [3, 0]]
    """
    assert arrays, "a batch has at least one row"
    if len(arrays) == 1:
        return arrays[0][np.newaxis]
    shapes = [array.shape for array in arrays]
    if shapes.count(shapes[0]) == len(shapes):
        return np.stack(arrays, out=allocate(name, (len(arrays), *shapes[0]), arrays[0].dtype))
    longest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    batch = allocate(name, (len(arrays), *longest), arrays[0].dtype)
    batch.fill(padding)
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return batch
