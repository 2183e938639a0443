"""A mask's PNG file to the pixels that belong to what a model sees of its image."""

import io

import numpy as np
from PIL import ExifTags, Image

from zoo.errors import Undecodable
from zoo.manifest import ImagePreprocessing
from zoo.masks import UNLABELLED, Mask
from zoo.preprocessing.image import MAX_PIXELS, framed

__all__ = ["load_mask", "size_of"]

_ONE_BYTE = ("L", "P")
_TURNED = (5, 6, 7, 8)
"""Values of the EXIF orientation with which height and width change places."""


def load_mask(data: bytes, spec: ImagePreprocessing) -> Mask:
    """Read a mask, and resize and crop it as ``spec`` does to its image; no pixel gets a value between two labels.

    Args:
        data: a PNG file of one byte a pixel, grey or with a palette (whose colours mean nothing).
        spec: the preprocessing of the image.

    Returns:
        A mask of the height and width that the model sees, ``UNLABELLED`` beyond the edges of the image.

    Raises:
        Undecodable: it is no such file.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG",))
        if image.mode not in _ONE_BYTE:
            raise Undecodable(
                f"The mask is a PNG of mode {image.mode}; expected one byte a pixel, 8-bit grey or palette."
            )
        if image.width * image.height > MAX_PIXELS:
            raise Undecodable(f"The mask is {image.width} × {image.height}; at most {MAX_PIXELS:,} pixels are decoded.")
        places_HW = np.asarray(image)
    except Undecodable:
        raise
    except Exception as error:  # Pillow's parsers raise many types on malformed bytes
        raise Undecodable(f"The {len(data):,} bytes are not a whole PNG file ({error}).") from error
    framed_ = framed(Image.fromarray(places_HW), spec, Image.Resampling.NEAREST, outside=UNLABELLED)
    return Mask.of(np.asarray(framed_))


def size_of(data: bytes) -> tuple[int, int]:
    """Return the width and the height of an encoded image, turned upright, without decoding its pixels.

    Raises:
        Undecodable: it is no image.
    """
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        turned = image.getexif().get(ExifTags.Base.Orientation) in _TURNED
    except Exception as error:  # as above
        raise Undecodable(f"The {len(data):,} bytes are not a JPEG or PNG file ({error}).") from error
    return (image.height, image.width) if turned else (image.width, image.height)
