"""A backbone that was added from a folder: trained on wherever the command runs, and missed with advice."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heads.base import Classify
from heads.base.backbones import add_backbone
from heads.base.building import prefix
from heads.base.building.build import build_head
from heads.base.errors import BackboneChanged
from heads.base.images import png_of
from tests.support.head_packages import TeamFolder
from tests.support.tiny_models import write_image_model
from zoo import Zoo


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


def test_a_folder_named_relatively_is_recorded_absolutely_and_missed_with_advice_that_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image_model(tmp_path / "model", "convnext")
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "green")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        monkeypatch.chdir(tmp_path)
        added = add_backbone(zoo, "timm:model", split=(0, 3), name="tiny", key=None)
        assert added.manifest.source == f"timm:{tmp_path / 'model'}"
        team.write_labels(colour_lines(zoo))
        monkeypatch.chdir("/")
        first = build_head(zoo, team.package, by="tests").version
        shutil.move(tmp_path / "model", tmp_path / "moved")
        team.write_recipe("epochs = 3\n")
        prefix._load_once.cache_clear()  # as in another process
        with pytest.raises(
            BackboneChanged, match=r"There is no folder .*zoo backbone add timm:<folder> --name tiny"
        ) as e:
            build_head(zoo, team.package, by="tests")
        assert "--split 0,3" in str(e.value)
        again = add_backbone(zoo, f"timm:{tmp_path / 'moved'}", split=(0, 3), name="tiny", key=None)
        assert again.manifest.stages == added.manifest.stages
        team.write_recipe("epochs = 20\nlearning_rate = 0.03\n")
        assert build_head(zoo, team.package, by="tests").version == first
