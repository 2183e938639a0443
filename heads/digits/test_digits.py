"""The pictures are those that the labels name, each digit has as many, and writers are kept apart."""

import itertools
from collections import Counter
from pathlib import Path

import numpy as np

from heads.base.testing import Model, invariance, labels_hold, model_of, rotated
from heads.digits.head import DIGITS, HEAD
from heads.digits.images import images, picture
from zoo.digest import digest_bytes
from zoo.labels import read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TRAINING_SPLITS = (TRAINING.train, TRAINING.valid)
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=20, test=28)


def test_the_package_makes_exactly_the_pictures_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def test_every_digit_has_as_many_examples_as_any_other() -> None:
    for split in (TRAINING.train, TRAINING.valid, TEST):
        found = Counter(str(example.target) for example in split)
        assert set(found) == set(DIGITS)
        assert len(set(found.values())) == 1


def test_rows_of_the_test_split_are_far_from_those_of_the_others() -> None:
    rows = [[int(example.id.rpartition("-")[2]) for example in split] for split in (*TRAINING_SPLITS, TEST)]
    for before, after in itertools.pairwise(rows):
        assert max(before) + 100 < min(after)


def test_a_digit_is_dark_on_light_with_a_margin() -> None:
    ink_HW = np.full((8, 8), 16.0)
    grey_HW = picture(ink_HW)
    assert grey_HW.shape == (48, 48)
    assert (grey_HW[0] == 255).all()
    assert grey_HW[24, 24] == 0


def test_a_few_degrees_change_hardly_any_digit(model: Model) -> None:
    invariance(model, list(images())[::10], rotated(5), at_least=0.85)
