"""Splits in memory: what a network reads for each row, what it learns, and batches of both."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from heads.base.network import Network
from heads.base.tasks.losses import IGNORED
from heads.base.tasks.targets import encode_target
from zoo.labels import Example, Target
from zoo.preprocessing import Row

__all__ = ["Batches", "Encoded", "cut", "encode", "padded"]

_BATCHES_SORTED_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One split, ready for a network: per row its reduced features, its target, its label, its input and its id."""

    reduced: list[tuple[Tensor, ...]]
    targets: list[Tensor]
    wanted: list[Target]
    rows: list[Row]
    ids: list[str] = field(default_factory=list)

    def size(self, row: int) -> int:
        """Return the size of a row's first axis, which ragged rows are padded on."""
        return len(self.reduced[row][0])


def encode(
    network: Network, examples: Sequence[Example], rows: Sequence[Row], features: Sequence[Mapping[str, NDArray[Any]]]
) -> Encoded:
    """Prepare a split: reduce its features with the network's weightless part, and encode its targets.

    Args:
        network: whose ``reduce`` is applied.
        examples: the labels.
        rows: their inputs.
        features: per row, what the network reads, by name and without the N axis.
    """
    return Encoded(
        reduced=[_reduce_row(network, feature) for feature in features],
        targets=[encode_target(network.task, example.target, row) for example, row in zip(examples, rows, strict=True)],
        wanted=[example.target for example in examples],
        rows=list(rows),
        ids=[example.id for example in examples],
    )


class Batches:
    """Makes batches of a split on a device.

    Vectors, and targets of one shape, are stacked once; what is ragged is padded batch by batch.

    Args:
        data: the split.
        device: where batches are put.
    """

    def __init__(self, data: Encoded, device: torch.device) -> None:
        self.data = data
        self._device = device
        columns = list(zip(*data.reduced, strict=True))
        self._inputs = [_stacked(column) if column[0].ndim == 1 else list(column) for column in columns]
        self._targets = _stacked(data.targets)

    def inputs(self, rows: Sequence[int]) -> tuple[Tensor, ...]:
        """Return what ``logits`` takes, for some rows; padding is zero, in the mask too."""
        return tuple(_rows_of(column, rows, 0.0).to(self._device) for column in self._inputs)

    def targets(self, rows: Sequence[int]) -> Tensor:
        """Return what the rows should give; padding is ``IGNORED``."""
        return _rows_of(self._targets, rows, IGNORED).to(self._device)

    def broken(self, rows: Sequence[int]) -> list[int]:
        """Return those of the rows whose features are not all finite numbers."""
        return [row for row in rows if not all(tensor.isfinite().all() for tensor in self.data.reduced[row])]

    def shuffled(self, order: Sequence[int], size: int, least: int = 1) -> list[list[int]]:
        """Return rows in batches of similar length, so that little is padded.

        Args:
            order: all rows, in random order.
            size: rows of a batch.
            least: a last batch of fewer rows is joined to the one before it.
        """
        near = size * _BATCHES_SORTED_TOGETHER
        chunks = [sorted(order[start : start + near], key=self.data.size) for start in range(0, len(order), near)]
        return [batch for chunk in chunks[:-1] for batch in cut(chunk, size)] + cut(chunks[-1], size, least)


def cut(rows: Sequence[int], size: int, least: int = 1) -> list[list[int]]:
    """Return rows in pieces of a size; a last piece of fewer than ``least`` is joined to the one before it.

    >>> cut(range(7), 3), cut(range(7), 3, least=2)
    ([[0, 1, 2], [3, 4, 5], [6]], [[0, 1, 2], [3, 4, 5, 6]])
    """
    pieces = [list(rows[start : start + size]) for start in range(0, len(rows), size)]
    if len(pieces) > 1 and len(pieces[-1]) < least:
        pieces[-2:] = [pieces[-2] + pieces[-1]]
    return pieces


def padded(tensors: Sequence[Tensor], padding: float = 0.0) -> Tensor:
    """Stack tensors on a new first axis; ragged ones are padded at the end of their own first axis."""
    if len({tensor.shape for tensor in tensors}) == 1:
        return torch.stack(list(tensors))
    return pad_sequence(list(tensors), batch_first=True, padding_value=padding)


def _stacked(tensors: Sequence[Tensor]) -> Tensor | list[Tensor]:
    return torch.stack(list(tensors)) if len({tensor.shape for tensor in tensors}) == 1 else list(tensors)


def _rows_of(column: Tensor | list[Tensor], rows: Sequence[int], padding: float) -> Tensor:
    if isinstance(column, Tensor):
        return column[torch.tensor(rows)]
    return padded([column[row] for row in rows], padding)


def _reduce_row(network: Network, features: Mapping[str, NDArray[Any]]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        inputs = (torch.from_numpy(np.asarray(features[spec.name])).unsqueeze(0) for spec in network.inputs)
        return tuple(tensor.squeeze(0) for tensor in network.reduce(*inputs))
