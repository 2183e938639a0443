"""The built-in image backbone: added, trained on, exported alike, and known by its files."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from heads.base import Classify
from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.building.fingerprint import backbone_key
from heads.base.images import png_of
from tests.support.head_packages import TeamFolder
from zoo import Zoo
from zoo.preprocessing import load_preprocessor


def colour_lines(zoo: Zoo) -> list[dict[str, Any]]:
    splits = ("train", "train", "valid", "test")
    lines = []
    for number in range(16):
        pixels = np.random.RandomState(number).randint(0, 80, (32, 32, 3)).astype(np.uint8)
        pixels[..., number % 2] += 170
        image = zoo.blobs.put(png_of(pixels))
        split, label = splits[number // 2 % 4], ("red", "green")[number % 2]
        lines.append({"id": f"colour-{number:02}", "image": image, "split": split, "slices": [], "label": label})
    return lines


def test_the_built_in_image_backbone_is_added_trained_on_and_answers_alike_in_every_form(tmp_path: Path) -> None:
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "green")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        added = add_backbone(zoo, "glyphs", name="tiny", key=None)
        assert (added.manifest.source, len(added.manifest.stages)) == ("glyphs", 3)
        team.write_labels(colour_lines(zoo))
        manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
        assert {form: parity.equal_answers for form, parity in manifest.parity.items()} == {
            "onnx": 1.0,
            "torchscript": 1.0,
        }
        row = load_preprocessor(added.manifest.preprocessing, zoo.blobs.get)(png_of(np.zeros((8, 8), np.uint8)))
    assert row.tensors["images_NCHW"].shape == (3, 48, 48)
    assert torch.from_numpy(row.tensors["images_NCHW"]).eq(-1).all()


def test_its_files_are_known_to_be_local() -> None:
    assert backbone_key("glyphs", (), "") is not None
