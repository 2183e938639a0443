"""One glyph as pixels: drawn by FreeType, centred on its ink."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backbone.pretrain.faces import face_file

__all__ = ["Look", "draw_glyph", "draw_picture"]

_MARGIN_PX = 2
_FINER = 4
"""Pictures are drawn so many times larger than they are shown."""


def draw_glyph(character: str, face: str, *, canvas_px: int, font_px: int) -> NDArray[np.uint8]:
    """Return a glyph's ink, 0 (none) to 255 (full), centred; one that would not fit is drawn smaller.

    Args:
        character: one character that the face has.
        face: a font file's name without its ending.
        canvas_px: width and height of the picture.
        font_px: size of the font.

    Returns:
        (canvas_px, canvas_px); all zero if the glyph has no ink.
    """
    left, top, right, bottom = _font(face, font_px).getbbox(character)
    room_px = canvas_px - 2 * _MARGIN_PX
    longest_px = max(right - left, bottom - top)
    if longest_px > room_px:
        font_px = max(1, int(font_px * room_px / longest_px))
        left, top, right, bottom = _font(face, font_px).getbbox(character)
    image = Image.new("L", (canvas_px, canvas_px))
    corner = ((canvas_px - right - left) // 2, (canvas_px - bottom - top) // 2)
    ImageDraw.Draw(image).text(corner, character, fill=255, font=_font(face, font_px))
    return np.asarray(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How a glyph is shown.

    Attributes:
        size_px: width and height of the picture.
        font_px: size of the font.
        tilt_deg: how far it is turned, counter-clockwise.
        shift_px: how far it is moved, right and down.
        ink: colour of the glyph, RGB.
        ground: colour of the background, RGB.
        noise: standard deviation of the noise, in steps of 255.
        seed: of the noise.
    """

    size_px: int = 48
    font_px: int = 30
    tilt_deg: float = 0.0
    shift_px: tuple[int, int] = (0, 0)
    ink: tuple[int, int, int] = (0, 0, 0)
    ground: tuple[int, int, int] = (255, 255, 255)
    noise: float = 0.0
    seed: int = 0


def draw_picture(character: str, face: str, look: Look) -> NDArray[np.uint8]:
    """Return the picture of a glyph, (size_px, size_px, 3); the same pixels wherever the same libraries draw it.

    Args:
        character: one character that the face has.
        face: a font file's name without its ending.
        look: how it is shown.
    """
    large_px = look.size_px * _FINER
    ink_HW = draw_glyph(character, face, canvas_px=large_px, font_px=look.font_px * _FINER)
    right, down = (shift * _FINER for shift in look.shift_px)
    turned = Image.fromarray(ink_HW).rotate(look.tilt_deg, Image.Resampling.BICUBIC, translate=(right, down))
    share_HW1 = np.asarray(turned.reduce(_FINER), np.float64)[..., None] / 255
    pixels_HWC = share_HW1 * look.ink + (1 - share_HW1) * look.ground
    # The legacy generator is the one whose numbers numpy promises never to change.
    noise_HWC = np.random.RandomState(look.seed).standard_normal(pixels_HWC.shape) * look.noise
    return np.clip(np.rint(pixels_HWC + noise_HWC), 0, 255).astype(np.uint8)


@functools.cache
def _font(face: str, size_px: int) -> ImageFont.FreeTypeFont:
    # Without a shaping engine, a character is always the same glyph.
    return ImageFont.truetype(face_file(face), size_px, layout_engine=ImageFont.Layout.BASIC)
