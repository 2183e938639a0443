"""The pictures are those that the labels name, and tilts of all sizes are in every split."""

from pathlib import Path
from typing import cast

from heads.base.testing import Model, brighter, invariance, labels_hold, model_of, slices
from heads.tilt.head import HEAD, LARGEST_DEG
from heads.tilt.images import images
from zoo.digest import digest_bytes
from zoo.labels import read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=20, test=20, slices=("stix", "unseen_letter"), slice_examples=30)


def test_the_package_makes_exactly_the_pictures_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def test_tilts_to_both_sides_are_in_every_split_and_within_what_is_declared() -> None:
    for split in (TRAINING.train, TRAINING.valid, TEST):
        tilts = sorted(cast("float", example.target) for example in split)
        assert -LARGEST_DEG <= tilts[0] < -0.9 * LARGEST_DEG
        assert 0.9 * LARGEST_DEG < tilts[-1] <= LARGEST_DEG
        assert abs(sum(tilts) / len(tilts)) < 5


def test_a_little_more_or_less_light_hardly_moves_the_angle(model: Model) -> None:
    invariance(model, list(images())[::12], brighter(0.1), within=5, at_least=0.9)


def test_the_valid_split_is_answered_well_enough(model: Model) -> None:
    slices(model, {"mae": 6.0})
