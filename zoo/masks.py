"""Masks: a label for each pixel of an image, as its place in a list of labels; a value, and its PNG file."""

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_MASK_LABELS", "UNLABELLED", "Mask"]

UNLABELLED = 255
"""What a pixel holds that has no label: it counts for nothing, in training and in metrics."""

MOST_MASK_LABELS = 255
"""A pixel is a byte, and one of its values means that there is no label."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GREY_8_BIT = (8, 0, 0, 0, 0)  # bits, colour type, compression, filter method, not interlaced
_QUICKLY = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mask:
    """One byte a pixel, in rows from the top: the place of its label in a list, or ``UNLABELLED``.

    Attributes:
        height: in pixels.
        width: in pixels.
        pixels: height × width bytes.
    """

    height: int
    width: int
    pixels: bytes

    def __post_init__(self) -> None:
        assert len(self.pixels) == self.height * self.width, (len(self.pixels), self.height, self.width)

    @classmethod
    def of(cls, pixels_HW: NDArray[np.uint8]) -> Self:
        """Return the mask that holds (H, W) places of labels."""
        height, width = pixels_HW.shape
        return cls(height=height, width=width, pixels=np.ascontiguousarray(pixels_HW, np.uint8).tobytes())

    @property
    def array(self) -> NDArray[np.uint8]:
        """The pixels as (H, W) uint8, which cannot be written to."""
        return np.frombuffer(self.pixels, np.uint8).reshape(self.height, self.width)

    def shares(self, labels: Sequence[str]) -> dict[str, float]:
        """Return which share of the pixels each label has, in the order of ``labels``.

        >>> Mask(height=1, width=4, pixels=bytes([0, 1, 1, 1])).shares(("ground", "glyph"))
        {'ground': 0.25, 'glyph': 0.75}
        """
        counts = np.bincount(self.array.reshape(-1), minlength=len(labels))
        return {label: int(count) / len(self.pixels) for label, count in zip(labels, counts, strict=False)}

    def to_png(self) -> bytes:
        """Return a PNG file of 8-bit grey, one value a pixel, not interlaced and with no row filtered.

        Without filters a reader needs nothing but zlib; large areas of one label are small all the same.
        """
        rows = b"".join(b"\0" + self.pixels[at : at + self.width] for at in range(0, len(self.pixels), self.width))
        header = struct.pack(">IIBBBBB", self.width, self.height, *_GREY_8_BIT)
        chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, _QUICKLY)), (b"IEND", b""))
        return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    """Return a chunk as the PNG specification (W3C, third edition, 5.3) lays it out: length, kind, data, CRC."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
