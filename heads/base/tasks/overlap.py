"""The loss of masks: every pixel for itself, and the overlap of every label as a whole."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from zoo.masks import UNLABELLED

__all__ = ["count_labelled", "dice_loss", "make_pixel_loss"]

_SMOOTH = 1.0
"""Pixels added to both sides of the fraction, so that a label that is nowhere divides nothing by zero."""


def make_pixel_loss(weights_C: Tensor | None, smoothing: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return the sum of cross entropy and dice loss, of (N, C, H, W) logits and (N, H, W) uint8 places of labels.

    Args:
        weights_C: of the labels in the cross entropy; None weighs them equally.
        smoothing: of the labels in the cross entropy, from 0 on.
    """

    def loss(logits_NCHW: Tensor, places_NHW: Tensor) -> Tensor:
        entropy = F.cross_entropy(
            logits_NCHW.float(),
            places_NHW.long(),
            weight=None if weights_C is None else weights_C.to(logits_NCHW.device),
            ignore_index=UNLABELLED,
            label_smoothing=smoothing,
        )
        if not (places_NHW != UNLABELLED).any():  # then the entropy is a mean of nothing
            entropy = logits_NCHW.sum() * 0
        return entropy + dice_loss(logits_NCHW, places_NHW)

    return loss


def dice_loss(logits_NCHW: Tensor, places_NHW: Tensor) -> Tensor:
    """Return 1 less the mean, over labels, of their soft dice coefficient in the batch (Milletari et al. 2016).

    A rare label counts as much as a frequent one, which cross entropy leaves to weights. The coefficient's squares are
    left out, as is common.

    Args:
        logits_NCHW: before softmax.
        places_NHW: of labels; unlabelled pixels count for nothing.

    >>> logits = torch.tensor([[[[9.0, -9.0]], [[-9.0, 9.0]]]])
    >>> round(float(dice_loss(logits, torch.tensor([[[0, 1]]]))), 4)
    0.0
    """
    labelled_N1HW = (places_NHW != UNLABELLED).unsqueeze(1)
    shares_NCHW = logits_NCHW.float().softmax(dim=1) * labelled_N1HW
    labels = torch.arange(logits_NCHW.shape[1], device=logits_NCHW.device).view(1, -1, 1, 1)
    wanted_NCHW = (places_NHW.unsqueeze(1) == labels) & labelled_N1HW
    both_C = (shares_NCHW * wanted_NCHW).sum(dim=(0, 2, 3))
    total_C = shares_NCHW.sum(dim=(0, 2, 3)) + wanted_NCHW.sum(dim=(0, 2, 3))
    return 1 - ((2 * both_C + _SMOOTH) / (total_C + _SMOOTH)).mean()


def count_labelled(places_NHW: Tensor) -> float:
    """Return how many pixels have a label; at least 1."""
    return float((places_NHW != UNLABELLED).sum().clamp(min=1))
