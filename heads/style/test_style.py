"""The pictures are those that the labels name; test characters, two faces and a script are in no other split."""

from collections import Counter
from pathlib import Path

from heads.base.testing import Model, labels_hold, model_of, slices
from heads.style.head import HEAD, STYLES
from heads.style.images import images
from zoo.digest import digest_bytes
from zoo.labels import Example, labels_in, read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=40, test=40, slices=("held_out_face", "unseen_script"), slice_examples=30)


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


def test_the_valid_split_is_answered_well_enough(model: Model) -> None:
    slices(model, {"micro_f1": 0.65})
