"""One glyph as pixels: drawn by FreeType, centred on its ink."""

import functools

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from backbone.pretrain.faces import face_file

__all__ = ["draw_glyph"]

_MARGIN_PX = 2


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


@functools.cache
def _font(face: str, size_px: int) -> ImageFont.FreeTypeFont:
    # Without a shaping engine, a character is always the same glyph.
    return ImageFont.truetype(face_file(face), size_px, layout_engine=ImageFont.Layout.BASIC)
