"""What is recorded of activations: signed histograms on a fixed logarithmic grid, and how they are stored.

The grid is symmetric about zero and spans everything that occurs in practice, so histograms of different steps add up,
and whoever draws them crops to what is there: the range needs no guess in advance.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray
from safetensors import SafetensorError

__all__ = ["BINS", "LOWEST", "Activations", "bin_edges", "read_activations", "write_activations"]

LOWEST = 2.0**-14
"""Magnitudes below this are in the bin of zero."""

BINS_PER_OCTAVE = 4
OCTAVES = 24
SIDE = BINS_PER_OCTAVE * OCTAVES
"""Bins on each side of zero: up to 2**10, and the last holds what is beyond."""

BINS = 2 * SIDE + 1

_ARRAYS = "activations.safetensors"
_NAMES = "activations.json"
_SCHEMA = "hydrazoo.activations/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Activations:
    """What a training run showed of its layers. A column stands for one recorded step, or for the sum of several.

    Attributes:
        layers: names of the modules whose outputs were looked at, from input to answer.
        steps: (C,) int64, the last step of each column, rising.
        counts: (L, C, ``BINS``) int64, how many activations fell in each bin of ``bin_edges``.
        near_zero: (L, C) float32, share of activations below a hundredth of their layer's root mean square.
        gradient_layers: names of the layers whose gradients were measured.
        gradient_norms: (G, C) float32, Euclidean norm of each layer's gradient, the mean over the column.
    """

    layers: tuple[str, ...]
    steps: NDArray[np.int64]
    counts: NDArray[np.int64]
    near_zero: NDArray[np.float32]
    gradient_layers: tuple[str, ...]
    gradient_norms: NDArray[np.float32]


def bin_edges() -> NDArray[np.float64]:
    """Return the ``BINS`` + 1 edges of the grid; the outermost bins also hold what is beyond them.

    >>> edges = bin_edges()
    >>> len(edges) == BINS + 1, bool((edges == -edges[::-1]).all()), float(edges[SIDE + 1]) == LOWEST
    (True, True, True)
    """
    above = LOWEST * 2.0 ** (np.arange(SIDE + 1) / BINS_PER_OCTAVE)
    return np.concatenate((-above[::-1], above))


def write_activations(folder: Path, found: Activations) -> None:
    """Write ``activations.safetensors`` and ``activations.json``; each is whole or not there."""
    arrays: Mapping[str, NDArray[Any]] = {
        "steps": found.steps,
        "counts": found.counts,
        "near_zero": found.near_zero,
        "gradient_norms": found.gradient_norms,
    }
    names = {"schema": _SCHEMA, "layers": list(found.layers), "gradient_layers": list(found.gradient_layers)}
    _replace(folder / _ARRAYS, safetensors.numpy.save(dict(arrays)))
    _replace(folder / _NAMES, (json.dumps(names, indent=2) + "\n").encode())


def read_activations(folder: Path) -> Activations | None:
    """Return what ``write_activations`` wrote, or None if there is nothing, or nothing that this release reads."""
    try:
        names = json.loads((folder / _NAMES).read_text(encoding="utf-8"))
        arrays = safetensors.numpy.load((folder / _ARRAYS).read_bytes())
    except (OSError, ValueError, SafetensorError):
        return None
    if not isinstance(names, dict) or names.get("schema") != _SCHEMA:
        return None
    found = Activations(layers=tuple(names["layers"]), gradient_layers=tuple(names["gradient_layers"]), **arrays)
    columns = len(found.steps)
    whole = (
        found.counts.shape == (len(found.layers), columns, BINS)
        and found.near_zero.shape == (len(found.layers), columns)
        and found.gradient_norms.shape == (len(found.gradient_layers), columns)
    )
    return found if whole else None


def _replace(file: Path, data: bytes) -> None:
    new = file.with_name(f"{file.name}.{os.getpid()}")
    new.write_bytes(data)
    new.replace(file)
