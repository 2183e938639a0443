import numpy as np
import pytest

from heads.base import Segment
from heads.base.inspect.pixels import label_ious, mean_iou, pixel_confusions
from heads.base.tasks.metrics import measure
from zoo.masks import UNLABELLED, Mask

LABELS = ("ground", "glyph", "frame")


def masks(seed: int) -> list[Mask]:
    chance = np.random.default_rng(seed)
    return [Mask.of(chance.choice([0, 1, 2], (6, 5)).astype(np.uint8)) for _ in range(4)]


def test_counts_of_images_add_up_to_the_mean_iou_that_the_gate_measures() -> None:
    wanted, found = masks(0), masks(1)
    wanted[0] = Mask.of(np.full((6, 5), UNLABELLED, np.uint8))
    counts_NCC = pixel_confusions(3, wanted, found)
    assert counts_NCC[0].sum() == 0
    measured = measure(Segment(labels=LABELS), wanted, found)
    assert mean_iou(counts_NCC.sum(axis=0)) == pytest.approx(measured["mean_iou"])


def test_a_label_that_is_nowhere_has_no_iou_and_does_not_count() -> None:
    counts_CC = np.array([[3, 0, 0], [1, 2, 0], [0, 0, 0]])
    assert np.isnan(label_ious(counts_CC)[2])
    assert mean_iou(counts_CC) == pytest.approx((3 / 4 + 2 / 3) / 2)
    assert np.isnan(mean_iou(np.zeros((2, 2), np.int64)))
