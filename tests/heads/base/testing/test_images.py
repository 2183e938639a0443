"""The same expectations on an image head: bytes in, typed answers out, and features of pictures side by side."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from heads.base import Classify
from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.building.phases import Phases
from heads.base.testing import Model, brighter, directional, invariance, minimum_functionality, rotated, slices
from heads.base.testing.labels import all_examples
from heads.base.testing.neighbours import duplicates, near_duplicates
from heads.base.testing.vectors import place
from tests.support.head_packages import TeamFolder
from tests.support.tiny_models import write_image_model
from zoo import Zoo

SPLITS = ("train", "train", "valid", "test")


def png(number: int, *, red: bool, level: int = 0) -> bytes:
    """Noise with a colour; ``level`` of PNG compression changes bytes and no pixel."""
    pixels = np.random.default_rng(number).integers(0, 80, (40, 48, 3), dtype=np.uint8)
    pixels[..., 0 if red else 2] += 170
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=level)
    return file.getvalue()


def test_an_image_head_is_tested_as_a_text_head_is(tmp_path: Path) -> None:
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "blue")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{write_image_model(tmp_path / 'vit', 'convnext')}", split=(0,), name="tiny", key=None)
        pictures = [png(number, red=number % 2 == 0) for number in range(24)]
        copy = png(0, red=True, level=9)  # of the first, which is for training
        team.write_labels(
            [
                {
                    "id": f"colour-{number:02}",
                    "image": zoo.blobs.put(picture),
                    "split": "test" if picture == copy else SPLITS[number // 2 % 4],
                    "slices": [],
                    "label": "red" if number % 2 == 0 else "blue",
                }
                for number, picture in enumerate([*pictures, copy])
            ]
        )
        model = Model(zoo, build_head(zoo, team.package, by="ann").version, team.package, by="ann")
        reds = pictures[::2]
        minimum_functionality(model, reds, "red", at_least=0.6)
        invariance(model, reds, rotated(5), brighter(0.1), at_least=0.6)
        directional(model, reds, lambda _raw: png(99, red=False), rises="blue", at_least=0.6)
        assert slices(model, {"accuracy": 0.5}).overall.examples == 6
        placed = place(zoo, team.package, all_examples(team.package.labels()), Phases())
        (leak,) = duplicates(placed)
        assert leak.ids == ("colour-00", "colour-24"), "other bytes, and the same pixels"
        assert all(finding.ids != leak.ids for finding in near_duplicates(placed, above=0.5)), "told once"
