"""The pictures are those that the labels name, and tilts of all sizes are in every split."""

from collections import Counter
from pathlib import Path
from typing import cast

from heads.base.fit import check_labels
from heads.base.recipe import read_recipe
from heads.tilt.head import HEAD, LARGEST_DEG
from heads.tilt.images import images
from zoo.digest import digest_bytes
from zoo.labels import read_labels

FOLDER = Path(__file__).parent
LABELS = read_labels(FOLDER / "labels.jsonl")
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()


def test_the_labels_are_those_that_the_head_declares() -> None:
    check_labels(HEAD, LABELS)


def test_the_package_makes_exactly_the_pictures_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def test_tilts_to_both_sides_are_in_every_split_and_within_what_is_declared() -> None:
    for split in (TRAINING.train, TRAINING.valid, TEST):
        tilts = sorted(cast("float", example.target) for example in split)
        assert -LARGEST_DEG <= tilts[0] < -0.9 * LARGEST_DEG
        assert 0.9 * LARGEST_DEG < tilts[-1] <= LARGEST_DEG
        assert abs(sum(tilts) / len(tilts)) < 5


def test_the_test_split_has_the_slices_that_the_gate_bounds() -> None:
    found = Counter(name for example in TEST for name in example.slices)
    assert {name: count for name, count in found.items() if count < 30} == {}
    assert {bound.rpartition("/")[0] for bound in HEAD.gate.bounds if "/" in bound} <= set(found)


def test_the_recipe_reads() -> None:
    assert read_recipe(FOLDER / "recipe.toml").seed == 0
