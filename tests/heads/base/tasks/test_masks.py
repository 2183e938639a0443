"""Heads that label pixels, on a tiny image backbone: masks are read from the zoo, and the whole path is proved."""

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heads.base import Segment, Tail
from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.errors import InvalidHead, InvalidRecipe
from tests.support.head_packages import TeamFolder
from tests.support.tiny_models import write_image_model
from zoo import Zoo
from zoo.answers import Segmentation, decode
from zoo.errors import InvalidLabels
from zoo.export.sessions import OnnxSession
from zoo.masks import UNLABELLED, Mask
from zoo.preprocessing import load_preprocessor

SIDE = 32
TASK = Segment(labels=("blue", "red"), detail=4)


def picture(number: int) -> tuple[bytes, Mask]:
    """Return a blue picture with a red part at one of its sides, and its mask."""
    random = np.random.default_rng(number)
    places_HW = np.zeros((SIDE, SIDE), np.uint8)
    edge = int(random.integers(6, 26))
    places_HW[:edge] = 1
    places_HW = np.rot90(places_HW, number % 4).copy()
    pixels_HWC = random.integers(0, 60, (SIDE, SIDE, 3), dtype=np.uint8)
    pixels_HWC[..., 0] += 190 * places_HW
    pixels_HWC[..., 2] += 190 * (1 - places_HW)
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, "PNG")
    return file.getvalue(), Mask.of(places_HW)


def lines(zoo: Zoo, count: int = 48) -> list[dict[str, Any]]:
    found = []
    for number in range(count):
        image, mask = picture(number)
        split = ("train", "train", "train", "train", "valid", "test")[number % 6]
        slices = ["left"] if number % 4 == 1 else []
        digests = {"image": zoo.blobs.put(image), "mask": zoo.blobs.put(mask.to_png())}
        found.append(
            {"id": f"m-{number:02}", "image": digests["image"], "split": split, "slices": slices}
            | {"mask": digests["mask"]}
        )
    return found


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    model = write_image_model(folder / "vit", "vit")
    with Zoo.open(folder / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
    return folder / "zoo"


@pytest.fixture
def zoo(template: Path, tmp_path: Path) -> Iterator[Zoo]:
    with Zoo.open(shutil.copytree(template, tmp_path / "zoo")) as zoo:
        yield zoo


@pytest.fixture
def team(tmp_path: Path) -> TeamFolder:
    team = TeamFolder(tmp_path / "paint", name="paint", team="paint", task=TASK, bounds={"mean_iou": 0.6})
    team.write_recipe("epochs = 30\nlearning_rate = 0.01\n")
    return team


def test_a_head_that_labels_pixels_is_built_proved_and_answers_from_its_stored_bytes(
    zoo: Zoo, team: TeamFolder
) -> None:
    team.write_labels(lines(zoo))
    done = build_head(zoo, team.package, by="tests")
    manifest = zoo.manifest(done.version)
    assert manifest.answer.kind == "segment"
    assert manifest.metrics.overall.values["mean_iou"] > 0.6
    assert manifest.metrics.slices["left"].examples == 4
    assert all(parity.equal_answers == 1 for parity in manifest.parity.values())
    assert manifest.signature.outputs[0].shape == ("N", 2, SIDE, SIDE)
    image, mask = picture(1000)
    known = {
        name: array[None]
        for name, array in load_preprocessor(manifest.preprocessing, zoo.blobs.get)(image).tensors.items()
    }
    for ref in manifest.stages:
        stage = zoo.stage(ref.digest)
        found = OnnxSession(zoo.blobs.get(stage.artifacts["onnx"].blob))(known)
        known.update(zip((spec.name for spec in stage.outputs), found, strict=True))
    row = load_preprocessor(manifest.preprocessing, zoo.blobs.get)(image)
    answer = decode(manifest.answer, {"scores_NCHW": known["scores_NCHW"][0]}, row)
    assert isinstance(answer, Segmentation)
    assert (answer.mask.array == mask.array).mean() > 0.75
    assert build_head(zoo, team.package, by="tests").status == "unchanged"


def changed(zoo: Zoo, mask: Mask | bytes | str) -> list[dict[str, Any]]:
    """Return labels of which the first names another mask."""
    found = lines(zoo, 12)
    if isinstance(mask, Mask):
        mask = mask.to_png()
    found[0]["mask"] = mask if isinstance(mask, str) else zoo.blobs.put(mask)
    return found


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ("0" * 64, r"labels.jsonl:1: the mask of 'm-00' is not in the zoo: there is no blob '0000"),
        (b"GIF89a", r"labels.jsonl:1: the mask of 'm-00' is refused\. The 6 bytes are not a whole PNG"),
        (Mask.of(np.zeros((4, 5), np.uint8)), r"It has 5 × 4 pixels, and the image 32 × 32"),
        (Mask.of(np.full((SIDE, SIDE), 7, np.uint8)), r"has pixels of 7; there are 2 labels, 0 to 1, and 255"),
    ],
    ids=["not stored", "no PNG", "another size", "no such label"],
)
def test_a_mask_that_does_not_fit_names_its_line(zoo: Zoo, team: TeamFolder, mask: Any, message: str) -> None:
    team.write_labels(changed(zoo, mask))
    with pytest.raises(InvalidLabels, match=message):
        build_head(zoo, team.package, by="tests")


def test_a_label_that_no_pixel_has_is_refused(zoo: Zoo, team: TeamFolder) -> None:
    team.task = Segment(labels=("blue", "red", "green"))
    team.write_labels(lines(zoo, 12))
    with pytest.raises(
        InvalidHead, match="declares the label 'green', 2 in its masks, and no pixel of the train split"
    ):
        build_head(zoo, team.package, by="tests")


def test_pixels_that_have_no_label_are_not_learned_from(zoo: Zoo, team: TeamFolder) -> None:
    """Masks that are wrong in half of their pixels, and say so, teach what whole ones teach."""
    found = lines(zoo)
    for number, line in enumerate(found):
        if line["split"] == "train":
            places_HW = picture(number)[1].array.copy()
            places_HW[:, ::2] = UNLABELLED
            line["mask"] = zoo.blobs.put(Mask.of(places_HW).to_png())
    team.write_labels(found)
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    assert manifest.metrics.overall.values["mean_iou"] > 0.6


def test_pixels_are_labelled_by_a_head_on_its_own_copies_of_the_last_blocks_too(zoo: Zoo, team: TeamFolder) -> None:
    team.tail = Tail(blocks=1)
    team.write_recipe("epochs = 4\nlearning_rate = 0.003\n")
    team.bounds = {}
    team.write_labels(lines(zoo))
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    assert manifest.signature.outputs[0].shape == ("N", 2, SIDE, SIDE)
    assert all(parity.max_abs_diff <= parity.tolerance for parity in manifest.parity.values())


def test_transforms_that_move_an_image_away_from_its_mask_are_refused(zoo: Zoo, team: TeamFolder) -> None:
    team.tail = Tail(blocks="all")
    team.write_recipe('augment = ["ColorJitter", "RandomRotation"]\n')
    team.write_labels(lines(zoo, 12))
    with pytest.raises(InvalidRecipe, match="RandomRotation in augment, which would move an image's pixels away"):
        build_head(zoo, team.package, by="tests")
