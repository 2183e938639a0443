"""A head that labels pixels, built once: its report, and what a team's tests measure of it."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heads.base import Segment
from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.errors import InvalidHead
from heads.base.inspect.collect import collect
from heads.base.testing import ExpectationMissed, Model, slices
from tests.support.head_packages import TeamFolder
from tests.support.reports import report
from tests.support.tiny_models import write_image_model
from zoo import Version, Zoo
from zoo.masks import UNLABELLED, Mask


def painted(zoo: Zoo) -> list[dict[str, Any]]:
    """Blue pictures, a part of which is red and painted as such."""
    lines: list[dict[str, Any]] = []
    for number in range(24):
        places_HW = np.zeros((32, 32), np.uint8)
        places_HW[: 6 + number] = 1
        pixels = np.random.default_rng(number).integers(0, 60, (32, 32, 3), dtype=np.uint8)
        pixels[..., 0] += 190 * places_HW
        pixels[..., 2] += 190 * (1 - places_HW)
        places_HW[-6:] = UNLABELLED
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        split = ("train", "train", "valid", "test")[number % 4]
        slices = ["small"] if number < 12 else []
        line = {"id": f"p-{number:02}", "image": zoo.blobs.put(file.getvalue()), "split": split, "slices": slices}
        lines.append(line | {"mask": zoo.blobs.put(Mask.of(places_HW).to_png())})
    return lines


@dataclass(frozen=True)
class Built:
    zoo: Zoo
    team: TeamFolder
    version: Version
    folder: Path


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = tmp_path_factory.mktemp("paint")
    model = write_image_model(folder / "convnext", "convnext")
    team = TeamFolder(folder / "paint", name="paint", task=Segment(labels=("blue", "red")), bounds={})
    with Zoo.open(folder / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
        team.write_labels(painted(zoo))
        version = build_head(zoo, team.package, by="tests").version
        yield Built(zoo=zoo, team=team, version=version, folder=folder / "zoo")


def test_it_shows_what_it_painted_wrongly_and_how_labels_overlap(built: Built) -> None:
    subject = collect(built.zoo, built.version, built.team.package, zoo_folder=built.folder)
    text, parsed = report(subject, built.team.package.head)
    assert all(each.loss > 0 and each.output.shape == (32, 32) for each in subject.judged)
    assert "pixels" in parsed.sections["mistakes"]
    assert "IoU" in parsed.sections["classes"]
    assert "small" in parsed.sections["slices"]
    masks = [each.example.target for each in subject.judged]
    known = sum(int((mask.array != UNLABELLED).sum()) for mask in masks if isinstance(mask, Mask))
    assert known < 32 * 32 * len(subject.judged)
    assert f"over {known:,} pixels" in parsed.sections["reliability"]
    assert text.count("difference of p-") == len(subject.judged)
    assert "red that was missed" in parsed.sections["losses"]
    assert "star is the published head" in parsed.sections["landscape"]


def test_masks_that_were_declared_in_another_order_are_refused(built: Built) -> None:
    head = replace(built.team.package.head, task=Segment(labels=("red", "blue")))
    with pytest.raises(InvalidHead, match=r"answers masks of blue, red; 'paint' now declares red, blue"):
        collect(built.zoo, built.version, replace(built.team.package, head=head), zoo_folder=built.folder)


def test_a_teams_tests_measure_masks_on_slices_and_say_which_pictures_fall_short(built: Built) -> None:
    model = Model(built.zoo, built.version, built.team.package, by="tests")
    found = slices(model, {"mean_iou": 0.0, "small/mean_iou": 0.0})
    assert 0 < found.overall.values["mean_iou"] < 1
    with pytest.raises(ExpectationMissed, match=r"mean_iou of paint@1 on the valid split(?s:.*)p-02.*32 × 32 pixels"):
        slices(model, {"mean_iou": 1.0})
