"""The cached features of the frozen backbone: one vector for each example, or one for each part. Imports torch."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heads.base.building.bench import Bench
from heads.base.building.features import features_of
from heads.base.building.ingredients import gather
from heads.base.building.phases import Phases
from heads.base.building.prefix import FrozenPrefix
from heads.base.packages import Package
from heads.base.threads import one_thread, workers
from zoo import Zoo
from zoo.labels import Example
from zoo.preprocessing import Row
from zoo.preprocessing.row import digest_tensors

__all__ = ["Parts", "Placed", "place", "place_parts"]

_CHANNELS = "CD"
"""The axes of a feature that are kept; it is averaged over the others, those of tokens and of pixels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """Examples as a head could tell them apart.

    Attributes:
        examples: N of them.
        digests: of what preprocessing makes of each input; equal digests, nothing could tell them apart.
        vectors: (N, D); the mean of all is taken away, since features of many networks share a large part.
    """

    examples: tuple[Example, ...]
    digests: tuple[str, ...]
    vectors: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """Examples as a head could tell their parts apart: the tokens of texts, or the cells of images.

    Attributes:
        examples: N of them.
        offsets: of each example, where its tokens begin and end in its text; empty for images.
        vectors: of each example, (T, D) float32 for its tokens or (H, W, D) for its cells.
    """

    examples: tuple[Example, ...]
    offsets: tuple[tuple[tuple[int, int], ...], ...]
    vectors: tuple[NDArray[np.float32], ...]


def place(zoo: Zoo, package: Package, examples: Sequence[Example], phases: Phases) -> Placed:
    """Compute the features of examples after the stage that a head is attached to, or take them from the cache.

    Args:
        zoo: where the backbone and the cache are.
        package: the head package.
        examples: of whichever splits; their targets are not looked at.
        phases: told about progress.

    Raises:
        NotFound: the backbone is not in the zoo.
        InvalidLabels: preprocessing refuses an input, or an image is not in the zoo.
    """
    rows, name, arrays = _features(zoo, package, examples, phases)
    vectors_ND = np.stack([_averaged(array, name) for array in arrays])
    return Placed(
        examples=tuple(examples),
        digests=tuple(digest_tensors(row.tensors) for row in rows),
        vectors=vectors_ND - vectors_ND.mean(0),
    )


def place_parts(zoo: Zoo, package: Package, examples: Sequence[Example], phases: Phases) -> Parts:
    """Compute the features of the parts of examples, or take them from the cache; arguments and errors as ``place``."""
    rows, name, arrays = _features(zoo, package, examples, phases)
    return Parts(
        examples=tuple(examples),
        offsets=tuple(row.offsets for row in rows),
        vectors=tuple(_in_parts(array, name, row) for array, row in zip(arrays, rows, strict=True)),
    )


def _features(
    zoo: Zoo, package: Package, examples: Sequence[Example], phases: Phases
) -> tuple[list[Row], str, list[NDArray[Any]]]:
    """Return the rows of examples, and the name and the values of the last feature that a head can read."""
    ingredients = gather(zoo, package)
    bench = Bench(zoo, ingredients, phases)
    stages = [zoo.stage(stage.digest) for stage in ingredients.backbone.manifest.stages]
    prefix = FrozenPrefix(ingredients.backbone, stages, len(ingredients.attached), bench.preprocessor.declared)
    rows = bench.rows(examples)
    with phases.phase("features"), one_thread():
        features = features_of(
            rows,
            prefix=prefix,
            preprocessor=bench.preprocessor,
            cache=zoo.features,
            workers=workers(),
            on_rows=phases.at,
        )
    last = bench.attached[-1].outputs[-1]
    return rows, last.name, [each[last.name] for each in features]


def _in_parts(array: NDArray[Any], name: str, row: Row) -> NDArray[np.float32]:
    """Return (T, D) of a text; (H, W, D) of an image, whose patches come after a few tokens that stand for no place."""
    if name.endswith("CHW"):
        return np.asarray(array.transpose(1, 2, 0), np.float32)
    if row.offsets:
        return np.asarray(array, np.float32)
    side = math.isqrt(len(array))
    return np.asarray(array[-(side**2) :].reshape(side, side, -1), np.float32)


def _averaged(array: NDArray[Any], name: str) -> NDArray[np.float64]:
    """Average a feature over every axis but its channels, which its name tells: ``tokens_NTD`` over T.

    >>> _averaged(np.array([[1.0, 2.0], [3.0, 4.0]]), "tokens_NTD").tolist()
    [2.0, 3.0]
    """
    axes = name.rpartition("_")[2].removeprefix("N")
    assert len(axes) == array.ndim, (name, array.shape)
    others = tuple(place for place, axis in enumerate(axes) if axis not in _CHANNELS)
    return np.asarray(np.mean(array, axis=others, dtype=np.float64))
