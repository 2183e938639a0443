"""Values and tensors as bytes, without pickle: structs, texts with their length, tensors as they lie in memory."""

import struct
from collections.abc import Mapping
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Packer", "Unpacker"]

_DTYPES = tuple(
    np.dtype(name)
    for name in (
        "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
        "float16", "float32", "float64",
    )
)  # fmt: skip
_CODES = {dtype: code for code, dtype in enumerate(_DTYPES)}
_ALIGNMENT = 16
_COUNT = struct.Struct("<I")
_TENSOR = struct.Struct("<HBB")
"""Bytes of the name, element type, and number of axes."""


class Packer:
    """Puts one message together.

    >>> packer = Packer()
    >>> packer.text("é")
    >>> packer.arrays({"a": np.arange(3)})
    >>> unpacker = Unpacker(memoryview(packer.done()))
    >>> unpacker.text(), unpacker.arrays()
    ('é', {'a': array([0, 1, 2])})
    """

    def __init__(self) -> None:
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def pack(self, form: struct.Struct, *values: object) -> None:
        """Add values of a fixed form."""
        self._add(form.pack(*values))

    def text(self, text: str) -> None:
        """Add a text."""
        data = text.encode(errors="surrogatepass")
        self._add(_COUNT.pack(len(data)) + data)

    def integers(self, numbers: "tuple[int, ...] | list[int]") -> None:
        """Add a list of small numbers that are not negative."""
        self._add(struct.pack(f"<{1 + len(numbers)}I", len(numbers), *numbers))

    def arrays(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Add named tensors of any numeric or boolean type."""
        self._add(_COUNT.pack(len(arrays)))
        for name, array in arrays.items():
            key = name.encode()
            self._add(_TENSOR.pack(len(key), _CODES[array.dtype], array.ndim) + key)
            self._add(struct.pack(f"<{array.ndim}Q", *array.shape))
            self._add(bytes(-self._size % _ALIGNMENT))
            self._parts.append(np.ascontiguousarray(array).data)
            self._size += array.nbytes

    def done(self) -> bytes:
        """Return the message."""
        return b"".join(self._parts)

    def _add(self, data: bytes) -> None:
        self._parts.append(data)
        self._size += len(data)


class Unpacker:
    """Takes a message apart, in the order in which it was put together.

    Args:
        data: the message; the tensors that come out of it lie in it, and cannot be written to.
    """

    def __init__(self, data: memoryview) -> None:
        self._data = data.toreadonly()
        self._position = 0

    def unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        """Return values of a fixed form."""
        return form.unpack(self._take(form.size))

    def text(self) -> str:
        """Return a text."""
        (size,) = self.unpack(_COUNT)
        return str(self._take(size), "utf-8", "surrogatepass")

    def integers(self) -> tuple[int, ...]:
        """Return a list of numbers."""
        (count,) = self.unpack(_COUNT)
        return struct.unpack(f"<{count}I", self._take(4 * count))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """Return named tensors."""
        (count,) = self.unpack(_COUNT)
        return dict(self._array() for _ in range(count))

    def _array(self) -> tuple[str, NDArray[Any]]:
        size, code, axes = self.unpack(_TENSOR)
        name = str(self._take(size), "utf-8")
        shape = struct.unpack(f"<{axes}Q", self._take(8 * axes))
        self._take(-self._position % _ALIGNMENT)
        dtype = _DTYPES[code]
        return name, np.ndarray(shape, dtype, self._take(prod(shape) * dtype.itemsize))

    def _take(self, size: int) -> memoryview:
        end = self._position + size
        assert end <= len(self._data), "both ends are of one release, and write what the other reads"
        taken = self._data[self._position : end]
        self._position = end
        return taken
