"""The pictures are those that the labels name; test characters, two faces and a script are in no other split."""

from collections import Counter
from pathlib import Path

from heads.base.fit import check_labels
from heads.base.recipe import read_recipe
from heads.style.head import HEAD, STYLES
from heads.style.images import images
from zoo.digest import digest_bytes
from zoo.labels import Example, labels_in, read_labels

FOLDER = Path(__file__).parent
LABELS = read_labels(FOLDER / "labels.jsonl")
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()


def test_the_labels_are_those_that_the_head_declares() -> None:
    check_labels(HEAD, LABELS)


def test_the_package_makes_exactly_the_pictures_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def characters(examples: tuple[Example, ...]) -> set[str]:
    return {chr(int(example.id.rpartition("-")[2], 16)) for example in examples}


def test_no_character_of_the_test_split_is_in_another_split() -> None:
    assert not characters(TEST) & characters((*TRAINING.train, *TRAINING.valid))


def test_every_style_is_learned_and_tested_both_ways() -> None:
    for split in (TRAINING.train, TRAINING.valid, TEST):
        found = Counter(style for example in split for style in labels_in(example.target))
        assert all(0.2 * len(split) < found[style] < 0.7 * len(split) for style in STYLES), found


def test_the_test_split_has_the_slices_that_the_gate_bounds() -> None:
    found = Counter(name for example in TEST for name in example.slices)
    assert {name: count for name, count in found.items() if count < 30} == {}
    assert {bound.rpartition("/")[0] for bound in HEAD.gate.bounds if "/" in bound} <= set(found)


def test_the_recipe_reads() -> None:
    assert read_recipe(FOLDER / "recipe.toml").seed == 0
