"""The pictures and masks of the mask head: a glyph among strokes. ``python -m heads.mask.images`` prints its labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import click
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from backbone.pretrain.drawing import draw_glyph
from backbone.pretrain.faces import characters_of
from heads.base.images import Drawn, labels_text, png_of
from zoo.digest import digest_bytes
from zoo.labels import Split

__all__ = ["Painted", "drawn", "images", "painted"]

SIZE_PX = 48
_FINER = 4
"""Glyphs and strokes are drawn so many times larger than they are shown."""

_CHARACTERS = "ABCDEFGHJKLMNPRSTUVXYZabdefghkmnpqrt23456789&@§?"
_TRAIN_FACES = ("DejaVuSans", "DejaVuSans-Bold", "DejaVuSansMono", "DejaVuSerif", "DejaVuSerif-Bold")
_VALID_FACES = ("DejaVuSansMono-Oblique",)
_TEST_FACES = {"DejaVuSerif-BoldItalic": "held_out_face", "STIXGeneralBol": "stix"}
_HEAVY_STROKES = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Painted:
    """A picture with its mask, and where both stand in the labels.

    Attributes:
        id: of the example.
        split: of the example.
        slices: of the example.
        pixels: the picture, (H, W, 3).
        places: the mask, (H, W): 0 where the ground is, 1 where the glyph is.
    """

    id: str
    split: Split
    slices: tuple[str, ...]
    pixels: NDArray[np.uint8]
    places: NDArray[np.uint8]


def images() -> Iterator[bytes]:
    """Yield every picture and every mask that the labels name."""
    for each in painted():
        yield png_of(each.pixels)
        yield png_of(each.places)


def drawn() -> Iterator[Drawn]:
    """Yield every picture with its line of labels."""
    for each in painted():
        target = ("mask", digest_bytes(png_of(each.places)))
        yield Drawn(id=each.id, split=each.split, slices=each.slices, target=target, file=png_of(each.pixels))


def painted() -> Iterator[Painted]:
    """Yield every picture with its mask: each character once in every face that has it."""
    faces: list[tuple[Split, str, tuple[str, ...]]] = [
        *(("train", face, ()) for face in _TRAIN_FACES),
        *(("valid", face, ()) for face in _VALID_FACES),
        *(("test", face, (name,)) for face, name in _TEST_FACES.items()),
    ]
    for split, face, slices in faces:
        for number, character in enumerate(_CHARACTERS):
            if character in characters_of(face):
                yield _paint(f"{split}-{face.lower()}-{number:02}", split, slices, character, face)


def _paint(name: str, split: Split, slices: tuple[str, ...], character: str, face: str) -> Painted:
    random = Random(name)  # noqa: S311 - for looks
    ground, ink = random.choice([(60, 180), (200, 80), (90, 230), (160, 20), (120, 250)])
    strokes = random.randint(3, 18)
    share_HW = _glyph(character, face, random)
    ground_HW = _clutter(ground, strokes, random)
    noise_HW = np.random.default_rng(random.getrandbits(32)).integers(-12, 13, (SIZE_PX, SIZE_PX))
    pixels_HW = np.rint(ground_HW * (1 - share_HW) + ink * share_HW + noise_HW).clip(0, 255).astype(np.uint8)
    return Painted(
        id=name,
        split=split,
        slices=(*slices, "heavy") if strokes >= _HEAVY_STROKES else slices,
        pixels=np.repeat(pixels_HW[..., None], 3, axis=2),
        places=(share_HW >= 0.5).astype(np.uint8),
    )


def _glyph(character: str, face: str, random: Random) -> NDArray[np.float64]:
    """Return which share of each pixel is ink, (H, W): a glyph somewhere in the picture, turned a little."""
    large_px = SIZE_PX * _FINER
    ink_HW = draw_glyph(character, face, canvas_px=large_px, font_px=random.randint(26, 40) * _FINER)
    shift = (random.randint(-6, 6) * _FINER, random.randint(-6, 6) * _FINER)
    turned = Image.fromarray(ink_HW).rotate(random.randint(-25, 25), Image.Resampling.BICUBIC, translate=shift)
    return np.asarray(turned.reduce(_FINER), np.float64) / 255


def _clutter(level: int, strokes: int, random: Random) -> NDArray[np.float64]:
    """Return a background (H, W) around a level of grey: lines, and the outlines of ellipses."""
    side = SIZE_PX * _FINER
    image = Image.new("L", (side, side), level)
    draw = ImageDraw.Draw(image)
    for _ in range(strokes):
        corners = [random.randint(-side // 4, side + side // 4) for _ in range(4)]
        grey = min(255, max(0, level + random.choice((-1, 1)) * random.randint(15, 60)))
        width = random.randint(1, 5) * _FINER
        if random.random() < 0.6:
            draw.line(corners, fill=grey, width=width)
        else:
            left, right, top, bottom = *sorted(corners[::2]), *sorted(corners[1::2])
            draw.ellipse((left, top, right, bottom), outline=grey, width=width)
    return np.asarray(image.reduce(_FINER), np.float64)


if __name__ == "__main__":
    click.echo(labels_text(drawn()), nl=False)
