"""A split as the head of a network sees it: what it reads, what it gives, and what it should have given."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.stage import run_path
from heads.base.declaration import Regress, Tag, Task
from heads.base.network import Network
from heads.base.tails.tail import TailedHead
from heads.base.tasks.modules import HeadStage
from heads.base.training import Encoded
from heads.base.training.scoring import device_of
from zoo.preprocessing import Row

__all__ = [
    "Reduced",
    "flat_logits",
    "head_of",
    "reach",
    "reduce_features",
    "rows_of",
    "span_of",
    "targets_of",
]

_ROWS_AT_ONCE = 64

Reduced = Sequence[tuple[Tensor, ...]]
"""What ``logits`` takes, row by row, without the N axis."""


def head_of(network: Network) -> HeadStage:
    """Return the head of a network: itself, or the one behind its tail."""
    head = network.head if isinstance(network, TailedHead) else network
    assert isinstance(head, HeadStage)
    return head


def reach(network: Network, reduced: Reduced) -> Reduced:
    """Return what the head of a network takes, for what the network takes: the same, or what its tail makes of it.

    The tail runs where its weights are; what comes out is on the CPU, where certainty is fitted and measured.
    """
    if not isinstance(network, TailedHead):
        return reduced
    stages, head, names = network.private_stages(), network.head, [each.name for each in network.inputs]
    device, found = device_of(network), []
    with torch.no_grad():
        for row in reduced:
            known = run_path(stages, {name: each[None].to(device) for name, each in zip(names, row, strict=True)})
            inputs = head.reduce(*(known[each.name] for each in head.inputs))
            found.append(tuple(each[0].cpu() for each in inputs))
    return found


def reduce_features(network: Network, features: Sequence[Mapping[str, NDArray[Any]]]) -> Reduced:
    """Return what a network takes, for features that have no labels.

    Args:
        network: whose ``reduce`` is applied.
        features: per row, by name and without the N axis.
    """
    found = []
    with torch.no_grad():
        for feature in features:
            inputs = (torch.from_numpy(np.asarray(feature[each.name]))[None] for each in network.inputs)
            found.append(tuple(each[0] for each in network.reduce(*inputs)))
    return found


def rows_of(run: Callable[..., Tensor], reduced: Reduced) -> list[Tensor]:
    """Return what ``run`` gives for each row; rows of one shape run together, so that nothing is padded."""
    places: dict[tuple[torch.Size, ...], list[int]] = defaultdict(list)
    for place, row in enumerate(reduced):
        places[tuple(each.shape for each in row)].append(place)
    found: dict[int, Tensor] = {}
    with torch.no_grad():
        for alike in places.values():
            for start in range(0, len(alike), _ROWS_AT_ONCE):
                chosen = alike[start : start + _ROWS_AT_ONCE]
                inputs = (torch.stack(column) for column in zip(*(reduced[place] for place in chosen), strict=True))
                found.update(zip(chosen, run(*inputs), strict=True))
    return [found[place] for place in range(len(reduced))]


def flat_logits(head: HeadStage, reduced: Reduced, data: Encoded) -> Tensor:
    """Return logits, (N, C); of tags, those of all tokens that stand for something in the text."""
    logits = rows_of(head.logits, reduced)
    if isinstance(head.task, Tag):
        return torch.cat([each[_stands(row)] for each, row in zip(logits, data.rows, strict=True)])
    return torch.stack(logits)


def targets_of(data: Encoded, task: Task) -> Tensor:
    """Return targets: (N,) int64 for one class each, (N, C) of 0 and 1, or (N, 1) values as shares of the range."""
    if isinstance(task, Regress):
        return (torch.stack(data.targets) - task.low) / span_of(task)
    if isinstance(task, Tag):
        return torch.cat([each[_stands(row)] for each, row in zip(data.targets, data.rows, strict=True)])
    return torch.stack(data.targets)


def span_of(task: Regress) -> float:
    """Return how wide the range of a value is."""
    return task.high - task.low


def _stands(row: Row) -> Tensor:
    """Return which tokens of a row stand for something in its text; special ones are never wrong, and would flatter."""
    return torch.tensor([start < end for start, end in row.offsets])
