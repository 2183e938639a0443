"""The loss around the weights that training found: a flat valley, or the edge of a cliff."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import functional_call

from heads.base.recipe import Recipe
from heads.base.tasks.losses import IGNORED, make_loss
from heads.base.tasks.modules import HeadStage
from heads.base.training.encoded import padded

__all__ = ["Landscape", "filter_normalised", "loss_landscape"]

MOST_ROWS = 256
"""A slice costs a pass over the rows at each of its points; so many say the shape."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Landscape:
    """The loss over a plane through the trained weights.

    Attributes:
        steps: (S,) float64 from -1 to 1, how far along each direction; 1 is as long as the weights themselves.
        losses: (S, S) float64, the first axis along the second direction, as images have it.
        rows: how many examples the loss is taken over.
    """

    steps: NDArray[np.float64]
    losses: NDArray[np.float64]
    rows: int


def filter_normalised(weights: Mapping[str, Tensor], generator: torch.Generator) -> dict[str, Tensor]:
    """Return a random direction whose filters are each as long as the weights' (Li et al. 2018).

    A filter is what makes one output: a row of a matrix, a kernel of a convolution. Biases and scales, which have no
    filters, stay where they are, as in the paper.

    Args:
        weights: by name, any shapes.
        generator: draws the direction.
    """
    direction = {}
    for name, weight in weights.items():
        if weight.ndim < 2:
            direction[name] = torch.zeros_like(weight)
            continue
        drawn = torch.randn(weight.shape, generator=generator)
        axes = tuple(range(1, weight.ndim))
        length = torch.linalg.vector_norm(drawn, dim=axes, keepdim=True).clamp(min=1e-12)
        direction[name] = drawn / length * torch.linalg.vector_norm(weight, dim=axes, keepdim=True)
    return direction


def loss_landscape(
    head: HeadStage, reduced: Sequence[tuple[Tensor, ...]], targets: Sequence[Tensor], *, points: int = 21
) -> Landscape:
    """Return the loss over the plane of two filter-normalised random directions.

    Args:
        head: the trained head; it is left as it is.
        reduced: per row, what ``logits`` takes, without the N axis; ragged rows are padded with zeros.
        targets: per row, what it learned.
        points: how many points a side, an odd number so that the weights themselves are one.
    """
    head = copy.deepcopy(head).eval()
    reduced, targets = reduced[:MOST_ROWS], targets[:MOST_ROWS]
    weights = {name: weight.detach() for name, weight in head.named_parameters()}
    generator = torch.Generator().manual_seed(0)
    right, up = (filter_normalised(weights, generator) for _ in range(2))
    inputs = tuple(padded(column) for column in zip(*reduced, strict=True))
    wanted, loss = padded(targets, IGNORED), make_loss(head.task, Recipe(), targets)
    steps = np.linspace(-1, 1, points)
    shown = _Logits(head)
    losses = np.empty((points, points))
    with torch.inference_mode():
        for row, b in enumerate(steps.tolist()):
            for column, a in enumerate(steps.tolist()):
                moved = {f"head.{name}": weight + a * right[name] + b * up[name] for name, weight in weights.items()}
                losses[row, column] = float(loss(functional_call(shown, moved, inputs), wanted))
    return Landscape(steps=steps, losses=losses, rows=len(targets))


class _Logits(torch.nn.Module):
    """A head whose ``forward`` is ``logits``, as ``functional_call`` calls ``forward``."""

    def __init__(self, head: HeadStage) -> None:
        super().__init__()
        self.head = head

    def forward(self, *reduced: Tensor) -> Tensor:
        return self.head.logits(*reduced)
