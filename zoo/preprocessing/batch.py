"""Rows to a batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.manifest import Preprocessing, TensorSpec, TextPreprocessing
from zoo.preprocessing.row import Preprocessor, Row

__all__ = ["collate"]


def collate(rows: Sequence[Row], preprocessor: Preprocessor) -> dict[str, NDArray[Any]]:
    """Stack rows on a new first axis, padding each dynamic axis at its end to the longest row.

    Token ids are padded with the tokenizer's padding id, everything else with 0: a mask thus says "no token" there.

    Args:
        rows: at least one, all made by ``preprocessor``.
        preprocessor: says which tensors there are and what pads them.

    Returns:
        The declared tensors by name, each with ``len(rows)`` rows.
    """
    assert rows, "a batch has at least one row"
    return {spec.name: _stack(spec, rows, _padding(preprocessor.spec, spec.name)) for spec in preprocessor.declared}


def _padding(spec: Preprocessing, name: str) -> int:
    return spec.pad_id if isinstance(spec, TextPreprocessing) and name == "ids_NT" else 0


def _stack(spec: TensorSpec, rows: Sequence[Row], padding: int) -> NDArray[Any]:
    arrays = [row.tensors[spec.name] for row in rows]
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    batch = np.full((len(arrays), *shape), padding, spec.dtype)
    for row, array in zip(batch, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return batch
