"""Calibration: whether a score of 0.8 is right 8 times out of 10, and the temperature that makes it so."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.errors import InvalidHead
from heads.base.tasks.metrics import ranks

__all__ = ["BINS", "auroc", "calibration_error", "confidences", "fit_temperature", "mean_nll"]

BINS = 15
"""Of equal width, as Guo et al. 2017 have them."""

_SHARPEST, _SOFTEST = 0.05, 20.0
"""Temperatures that are let through: where every answer is right, the likelihood alone would go to 0."""

_STEPS = 60


def fit_temperature(logits: Tensor, targets: Tensor) -> float:
    """Return the temperature T for which ``logits / T`` make the targets likeliest (Guo et al. 2017).

    In 1 / T the loss is convex, so Newton's steps, halved where they leave what is still possible, find the one
    minimum. Dividing by T > 0 changes no order: the answers stay.

    Args:
        logits: (N, C), of rows that were not trained on.
        targets: (N,) int64 for exactly one class each; (N, C) float32 of 0 and 1 where any number apply.

    Raises:
        InvalidHead: there are no rows, or nothing to tell apart in them.

    >>> round(fit_temperature(torch.tensor([[4.0, 0.0]] * 10), torch.tensor([0] * 9 + [1])), 3)
    1.82
    """
    _check_told_apart(targets)
    exact, wanted = logits.double(), targets if targets.dtype == torch.int64 else targets.double()
    low, high, sharpness = 1 / _SOFTEST, 1 / _SHARPEST, 1.0
    for _ in range(_STEPS):
        slope, curvature = _slope(exact, wanted, sharpness)
        low, high = (sharpness, high) if slope < 0 else (low, sharpness)
        step = sharpness - slope / curvature if curvature > 0 else high
        sharpness = step if low < step < high else (low + high) / 2
    return 1 / sharpness


def mean_nll(logits: Tensor, targets: Tensor) -> float:
    """Return the mean negative log-likelihood, in nats: a row's, or a row's and label's where any number apply.

    Args:
        logits: (N, C).
        targets: as ``fit_temperature`` takes them.
    """
    if targets.dtype == torch.int64:
        return float(F.cross_entropy(logits.double(), targets))
    return float(F.binary_cross_entropy_with_logits(logits.double(), targets.double()))


def confidences(logits: Tensor, targets: Tensor) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return how sure each decision is, and whether it came true: of the likeliest class, or of each label.

    Args:
        logits: (N, C).
        targets: as ``fit_temperature`` takes them.
    """
    if targets.dtype == torch.int64:
        scores_N, found_N = logits.double().softmax(dim=-1).max(dim=-1)
        return scores_N.numpy(), (found_N == targets).numpy()
    return logits.double().sigmoid().flatten().numpy(), (targets > 0).flatten().numpy()


def calibration_error(confidence_N: NDArray[np.float64], right_N: NDArray[np.bool_], bins: int = BINS) -> float:
    """Return the expected calibration error: how far confidence is from accuracy, over bins, weighted by their rows.

    Naeini et al. 2015, with bins of equal width.

    Args:
        confidence_N: from 0 to 1.
        right_N: whether it came true.
        bins: how many.

    >>> round(calibration_error(np.array([0.9, 0.9, 0.9, 0.9]), np.array([True, True, True, False])), 2)
    0.15
    """
    place_N = np.minimum((confidence_N * bins).astype(np.int64), bins - 1)
    rows = np.bincount(place_N, minlength=bins)
    gaps = np.bincount(place_N, weights=confidence_N - right_N, minlength=bins)
    return float(np.abs(gaps).sum() / rows.sum())


def auroc(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> float:
    """Return the chance that something outside is more uncertain than something inside; ties count half.

    The area under the ROC curve, as Mann and Whitney's statistic (Hanley & McNeil 1982). 0.5 is a coin's.

    Args:
        inside: uncertainty of inputs like those that were trained on.
        outside: uncertainty of others.

    >>> auroc(np.array([0.1, 0.2]), np.array([0.2, 0.3]))
    0.875
    """
    place = ranks(np.concatenate((inside, outside)))[len(inside) :]
    return float((place.sum() - len(outside) * (len(outside) + 1) / 2) / (len(inside) * len(outside)))


def _slope(logits: Tensor, targets: Tensor, sharpness: float) -> tuple[float, float]:
    """Return the first and second derivative of the loss by 1 / T."""
    if targets.dtype == torch.int64:
        p = (logits * sharpness).softmax(dim=-1)
        mean_N = (p * logits).sum(dim=-1)
        slope = mean_N - logits.gather(1, targets[:, None])[:, 0]
        return float(slope.mean()), float(((p * logits.square()).sum(dim=-1) - mean_N.square()).mean())
    p = (logits * sharpness).sigmoid()
    return float(((p - targets) * logits).mean()), float((p * (1 - p) * logits.square()).mean())


def _check_told_apart(targets: Tensor) -> None:
    if not len(targets):
        raise InvalidHead("The valid split has no examples, and calibration is fitted on them. Add some to the labels.")
    if targets.min() == targets.max():
        kind = "class" if targets.dtype == torch.int64 else "answer to every label"
        raise InvalidHead(
            f"All {len(targets)} examples of the valid split have the same {kind}, and calibration needs at least two. "
            "Add examples of others to it, or take calibrate=True out of the declaration."
        )
