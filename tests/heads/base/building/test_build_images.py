"""A head on an image backbone: labels name images by digest, and the whole path is exported and proved."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.building.edges import edge_rows
from tests.support.head_packages import TeamFolder
from tests.support.tiny_models import write_image_model
from zoo import Zoo
from zoo.errors import InvalidLabels
from zoo.preprocessing import load_preprocessor


def png(number: int, red: bool) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 80, (40, 48, 3), dtype=np.uint8)
    pixels[..., 0 if red else 2] += 170
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def lines(zoo: Zoo) -> list[dict[str, Any]]:
    splits = ("train", "train", "valid", "test")
    return [
        {
            "id": f"colour-{number:02}",
            "image": zoo.blobs.put(png(number, red=number % 2 == 0)),
            "split": splits[number // 2 % 4],
            "slices": [],
            "label": "red" if number % 2 == 0 else "blue",
        }
        for number in range(40)
    ]


@pytest.mark.parametrize(("kind", "features"), [("vit", "tokens_NTD"), ("convnext", "features_NCHW")])
def test_a_head_on_an_image_backbone_is_built_and_proved(tmp_path: Path, kind: str, features: str) -> None:
    from heads.base import Classify

    model = write_image_model(tmp_path / kind, kind)
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "blue")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        backbone = add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
        team.write_labels(lines(zoo))
        manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
        assert [spec.name for spec in zoo.stage(manifest.stages[-1].digest).inputs] == [features]
        assert manifest.stages[:-1] == backbone.manifest.stages
        assert manifest.signature.inputs[0].name == "images_NCHW"
        assert all(parity.equal_answers == 1 for parity in manifest.parity.values())
        assert len(edge_rows(load_preprocessor(manifest.preprocessing, zoo.blobs.get))) == 8


def test_an_image_that_is_not_in_the_zoo_is_said_so(tmp_path: Path) -> None:
    from heads.base import Classify

    model = write_image_model(tmp_path / "vit", "vit")
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "blue")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
        found = lines(zoo)
        found[0]["image"] = "0" * 64
        team.write_labels(found)
        with pytest.raises(InvalidLabels, match=r"the image of 'colour-00' is not in the zoo"):
            build_head(zoo, team.package, by="tests")
