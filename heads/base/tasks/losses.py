"""What training minimises: one loss a kind of answer, over the logits of a head."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.declaration import Embed, Multilabel, Regress, Segment, Tag, Task
from heads.base.recipe import Recipe
from heads.base.tasks.contrast import count_anchors, supervised_contrastive
from heads.base.tasks.overlap import count_labelled, make_pixel_loss
from zoo.masks import UNLABELLED

__all__ = ["IGNORED", "Loss", "class_weights", "make_loss"]

IGNORED = -100
"""The target of a padding token: it counts for nothing."""


@dataclass(frozen=True, slots=True)
class Loss:
    """A mean over a batch, and what it divides by; so the means of parts make the mean of the whole.

    Attributes:
        mean: (logits, targets) to a scalar.
        weight: targets to what the mean divides by: their number, or the sum of their classes' weights.
    """

    mean: Callable[[Tensor, Tensor], Tensor]
    weight: Callable[[Tensor], float] = len

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean."""
        return self.mean(logits, targets)


def make_loss(task: Task, recipe: Recipe, targets: Sequence[Tensor]) -> Loss:
    """Return the loss of a task.

    Cross entropy, with dice loss for pixels; binary cross entropy; squared error of the scaled value; or the supervised
    contrastive loss of vectors.

    Args:
        task: what kind of answer.
        recipe: smoothing, and whether to weigh classes.
        targets: the training targets, which class weights are taken from.
    """
    if isinstance(task, Regress):
        span = task.high - task.low
        low = task.low
        return Loss(lambda logits, values: F.mse_loss(logits.sigmoid(), (values - low) / span))
    if isinstance(task, Multilabel):
        positive = _positive_weights(torch.stack(list(targets))) if recipe.class_weights else None
        return Loss(
            lambda logits, wanted: F.binary_cross_entropy_with_logits(
                logits, _smooth(wanted, recipe.label_smoothing), pos_weight=_beside(positive, logits)
            )
        )
    if isinstance(task, Embed):
        return Loss(supervised_contrastive, count_anchors)
    if isinstance(task, Segment):
        labelled = torch.cat([target[target != UNLABELLED] for target in targets]).long()
        rarity = class_weights(labelled, len(task.labels)) if recipe.class_weights else None
        return Loss(make_pixel_loss(rarity, recipe.label_smoothing), count_labelled)
    classes = 1 + 2 * len(task.labels) if isinstance(task, Tag) else len(task.labels)
    flat = torch.cat([target.reshape(-1) for target in targets])
    weights = class_weights(flat, classes) if recipe.class_weights else None
    return Loss(
        lambda logits, wanted: F.cross_entropy(
            logits.flatten(0, -2),
            wanted.flatten(),
            weight=_beside(weights, logits),
            ignore_index=IGNORED,
            label_smoothing=recipe.label_smoothing,
        ),
        lambda wanted: _counted(wanted[wanted != IGNORED], weights),
    )


def class_weights(targets: Tensor, classes: int) -> Tensor:
    """Return weights that rise with the rarity of a class: the square root of N / (classes × count), at most 10.

    The root is a compromise between no weighting and full inverse frequency, which lets one odd example of a
    rare class outweigh everything.

    >>> class_weights(torch.tensor([0, 0, 0, 0, 1]), 2).round(decimals=2).tolist()
    [0.7900000214576721, 1.5800000429153442]
    """
    counts = torch.bincount(targets, minlength=classes).clamp(min=1)
    return (len(targets) / (classes * counts.float())).sqrt().clamp(max=10.0)


def _positive_weights(targets_NC: Tensor) -> Tensor:
    positive = targets_NC.sum(dim=0).clamp(min=1)
    return ((len(targets_NC) - positive) / positive).clamp(min=1).sqrt()


def _smooth(targets: Tensor, smoothing: float) -> Tensor:
    return targets * (1 - smoothing) + smoothing / 2


def _beside(weights: Tensor | None, logits: Tensor) -> Tensor | None:
    return None if weights is None else weights.to(logits.device)


def _counted(wanted: Tensor, weights: Tensor | None) -> float:
    return wanted.numel() if weights is None else float(weights[wanted.cpu()].sum())
