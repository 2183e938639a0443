"""Masks on the wire: PNG files of 8-bit grey, read without an image library."""

import struct
import zlib
from collections.abc import Iterator
from typing import Final

import numpy as np
from hydrazoo.client.errors import ServerError
from numpy.typing import NDArray

__all__ = ["grey_pixels"]

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GREY_8_BIT: Final = (8, 0, 0, 0, 0)
"""Bits, colour type, compression, filter method, interlacing."""


def grey_pixels(data: bytes) -> NDArray[np.uint8]:
    """Return the pixels of a PNG file as a server writes masks: 8-bit grey, not interlaced, no row filtered.

    The form of a file is that of the PNG specification (W3C, third edition).

    Args:
        data: the file.

    Returns:
        (H, W) values.

    Raises:
        ServerError: it is no such file.

    >>> grey_pixels(b"GIF89a")
    Traceback (most recent call last):
    hydrazoo.client.errors.ServerError: The mask is no PNG file of 8-bit grey: it begins with b'GIF89a'.
    """
    if not data.startswith(_SIGNATURE):
        raise ServerError(f"The mask is no PNG file of 8-bit grey: it begins with {data[:8]!r}.")
    try:
        chunks = list(_chunks(data))
        width, height, *form = struct.unpack(">IIBBBBB", chunks[0][1])
        packed = b"".join(part for kind, part in chunks if kind == b"IDAT")
        rows_HW = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width + 1)
    except (struct.error, zlib.error, ValueError, IndexError) as error:
        raise ServerError(f"The mask is no whole PNG file: {error}.") from error
    if tuple(form) != _GREY_8_BIT or rows_HW[:, 0].any():
        raise ServerError(f"The mask is a PNG of the form {form}; expected {list(_GREY_8_BIT)}, no row filtered.")
    return rows_HW[:, 1:]


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the kind and the content of each chunk."""
    at = len(_SIGNATURE)
    while at < len(data):
        (size,) = struct.unpack_from(">I", data, at)
        yield data[at + 4 : at + 8], data[at + 8 : at + 8 + size]
        at += size + 12
