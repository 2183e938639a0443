"""How masks agree, image by image: counts that add up, so that any set of images is measured in a moment."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from zoo.masks import UNLABELLED, Mask

__all__ = ["label_ious", "mean_iou", "pixel_confusions"]


def pixel_confusions(labels: int, wanted: Sequence[Mask], found: Sequence[Mask]) -> NDArray[np.int64]:
    """Return (N, C, C): how many pixels of each image want a label (row) and are answered with one (column).

    Args:
        labels: how many there are.
        wanted: the mask of each image; pixels without a label are left out.
        found: the mask answered, of the same size.

    >>> wanted, found = Mask(height=1, width=3, pixels=bytes([0, 1, 255])), Mask(height=1, width=3, pixels=bytes(3))
    >>> pixel_confusions(2, [wanted], [found]).tolist()
    [[[1, 0], [1, 0]]]
    """
    counts_NCC: NDArray[np.int64] = np.zeros((len(wanted), labels, labels), np.int64)
    for place, (given, answered) in enumerate(zip(wanted, found, strict=True)):
        known_HW = given.array != UNLABELLED
        pairs = given.array[known_HW].astype(np.int64) * labels + answered.array[known_HW]
        counts_NCC[place] = np.bincount(pairs, minlength=labels * labels).reshape(labels, labels)
    return counts_NCC


def label_ious(counts_CC: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (C,) intersection over union of each label (Jaccard 1912); NaN of one that is nowhere.

    Args:
        counts_CC: pixels by wanted label (row) and answered label (column), of one image or of many.

    >>> label_ious(np.array([[1, 0], [1, 2]])).round(2).tolist()
    [0.5, 0.67]
    """
    hits_C = np.diag(counts_CC).astype(np.float64)
    either_C = counts_CC.sum(axis=0) + counts_CC.sum(axis=1) - hits_C
    return np.where(either_C > 0, hits_C / np.maximum(either_C, 1), np.nan)


def mean_iou(counts_CC: NDArray[np.int64]) -> float:
    """Return the mean over the labels that are anywhere; NaN if no pixel has a label.

    >>> round(mean_iou(np.array([[1, 0], [1, 2]])), 3)
    0.583
    """
    ious_C = label_ious(counts_CC)
    known_C = ious_C[~np.isnan(ious_C)]
    return float(known_C.mean()) if len(known_C) else float("nan")
