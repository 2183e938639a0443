"""The pictures are those that the labels name, and the test is about faces that nothing was trained on."""

from collections import Counter
from pathlib import Path

from backbone.pretrain.faces import FACES
from heads.base.testing import Model, brighter, invariance, labels_hold, model_of, rotated
from heads.glyphs.head import HEAD, LETTERS
from heads.glyphs.images import images
from zoo.digest import digest_bytes
from zoo.labels import Example, read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=8, test=4, slices=("computer_modern", "held_out_face", "stix"), slice_examples=50)


def test_the_package_makes_exactly_the_pictures_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def faces(examples: tuple[Example, ...]) -> set[str]:
    return {example.id.split("-", 1)[1].rpartition("-")[0] for example in examples}


def test_no_face_of_the_test_split_is_in_another_split_and_some_were_held_out_of_pre_training() -> None:
    assert not faces(TEST) & faces((*TRAINING.train, *TRAINING.valid))
    held_out = {face.name.lower() for face in FACES if face.held_out}
    assert held_out <= faces(TEST)
    assert faces(tuple(each for each in TEST if "held_out_face" in each.slices)) == held_out


def test_every_letter_is_trained_on_and_tested() -> None:
    assert {
        letter: count for letter, count in Counter(each.target for each in TRAINING.train).items() if count < 8
    } == {}
    assert {each.target for each in TEST if "held_out_face" in each.slices} == set(LETTERS)


def test_a_few_degrees_change_hardly_any_letter(model: Model) -> None:
    invariance(model, list(images())[::8], rotated(5), at_least=0.85)


def test_a_little_more_or_less_light_changes_hardly_any_letter(model: Model) -> None:
    invariance(model, list(images())[::8], brighter(0.1), at_least=0.9)
