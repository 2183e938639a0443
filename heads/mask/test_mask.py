"""The pictures and masks are those that the labels name, and the test is about faces that nothing was trained on."""

from pathlib import Path

from backbone.pretrain.faces import FACES
from heads.base.testing import Model, labels_hold, model_of, slices
from heads.mask.head import HEAD
from heads.mask.images import images, painted
from zoo.digest import digest_bytes
from zoo.labels import Example, read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, slices=("heavy", "held_out_face", "stix"), slice_examples=40)


def test_the_package_makes_exactly_the_pictures_and_masks_that_its_labels_name() -> None:
    assert {digest_bytes(file) for file in images()} == set(LABELS.files())


def faces(examples: tuple[Example, ...]) -> set[str]:
    return {example.id.split("-", 1)[1].rpartition("-")[0] for example in examples}


def test_no_face_of_the_test_split_is_in_another_split_and_one_was_held_out_of_pre_training() -> None:
    assert not faces(TEST) & faces((*TRAINING.train, *TRAINING.valid))
    held_out = {face.name.lower() for face in FACES if face.held_out}
    assert faces(tuple(each for each in TEST if "held_out_face" in each.slices)) <= held_out


def test_every_mask_holds_some_glyph_and_more_ground() -> None:
    for each in painted():
        assert set(each.places.ravel().tolist()) == {0, 1}, each.id
        assert 0.01 < each.places.mean() < 0.4, each.id


def test_the_valid_split_is_answered_well_enough(model: Model) -> None:
    slices(model, {"mean_iou": 0.75})
