"""Tensors to and from the bytes of the Open Inference Protocol; nothing here trusts a size.

A message that claims more elements than it has bytes is refused before anything is allocated.
BYTES tensors are arrays of ``bytes`` objects; on the wire each element has its length before it,
as 4 bytes, little-endian.
"""

import math
import struct
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.errors import InvalidRequest
from zoo.manifest import DType

__all__ = [
    "DATATYPES",
    "DTYPES",
    "array_of_bytes",
    "check_axes",
    "datatype_of",
    "decode_elements",
    "decode_raw",
    "encode_raw",
]

DATATYPES: dict[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "INT32": np.dtype("<i4"),
    "INT64": np.dtype("<i8"),
    "FP16": np.dtype("<f2"),
    "FP32": np.dtype("<f4"),
    "BYTES": np.dtype(np.object_),
}
"""The protocol's element types that this server takes, and how they lie in memory."""

MAX_AXES = 8
"""More axes than any declared tensor has, and fewer than numpy's own limit."""

DTYPES: dict[DType, str] = {
    "bool": "BOOL",
    "uint8": "UINT8",
    "int32": "INT32",
    "int64": "INT64",
    "float16": "FP16",
    "float32": "FP32",
    "bytes": "BYTES",
}
"""The protocol's word for each element type of a manifest."""

_WORDS = {dtype: word for word, dtype in DATATYPES.items()}
_IS_LITTLE_ENDIAN = sys.byteorder == "little"

_LENGTH = struct.Struct("<I")


def datatype_of(array: NDArray[Any]) -> str:
    """Return the protocol's word for an array's element type; an array of objects holds bytes.

    >>> datatype_of(np.zeros(1, np.int64))
    'INT64'
    """
    return _WORDS[array.dtype]


def decode_raw(name: str, datatype: str, shape: Sequence[int], raw: bytes) -> NDArray[Any]:
    """Return the tensor that a raw buffer holds, without copying it where that is possible.

    Args:
        name: the tensor's name, for the error.
        datatype: the protocol's element type, e.g. ``FP32``.
        shape: the axes that the message claims.
        raw: little-endian, row-major elements.

    Raises:
        InvalidRequest: an unknown type, a shape that is not one, or bytes that do not fit it.

    >>> decode_raw("x", "INT32", [2, 1], bytes([1, 0, 0, 0, 2, 0, 0, 0])).tolist()
    [[1], [2]]
    """
    shape = tuple(shape)  # a message's own sequence is slow to go through, and that happens several times
    dtype, count = _dtype(name, datatype), _count(name, shape)
    if dtype.hasobject:
        return array_of_bytes(_split(name, raw, count)).reshape(shape)
    if len(raw) != count * dtype.itemsize:
        raise InvalidRequest(
            f"Input {name!r} has {len(raw)} bytes of raw contents; {datatype} of shape {list(shape)} takes "
            f"{count * dtype.itemsize}. Send little-endian elements in row-major order."
        )
    if datatype == "BOOL" and (highest := int(np.frombuffer(raw, np.uint8).max())) > 1:
        raise InvalidRequest(f"Input {name!r} is BOOL and has a byte of value {highest}; send 0 or 1.")
    return np.frombuffer(raw, dtype).reshape(shape)


def decode_elements(name: str, datatype: str, shape: Sequence[int], elements: Sequence[Any]) -> NDArray[Any]:
    """Return the tensor of typed elements (the protocol's ``contents``).

    Raises:
        InvalidRequest: an unknown type, a shape that is not one, another number of elements than it
            has, or an element out of the type's range.

    >>> decode_elements("x", "FP32", [1, 2], [0.5, 2.0]).tolist()
    [[0.5, 2.0]]
    """
    dtype, count = _dtype(name, datatype), _count(name, shape)
    if len(elements) != count:
        raise InvalidRequest(
            f"Input {name!r} has {len(elements)} elements in its contents; {datatype} of shape {list(shape)} "
            f"takes {count}."
        )
    if dtype.hasobject:
        return array_of_bytes(elements).reshape(shape)
    try:
        return np.array(list(elements), dtype).reshape(shape)
    except (OverflowError, TypeError, ValueError):
        raise InvalidRequest(f"Input {name!r} has an element that is no {datatype}.") from None


def encode_raw(array: NDArray[Any]) -> bytes:
    r"""Return an array's elements as the protocol's raw contents.

    >>> encode_raw(array_of_bytes([b"hi"]))
    b'\x02\x00\x00\x00hi'
    """
    if array.dtype.hasobject:
        return b"".join(_LENGTH.pack(len(element)) + element for element in array.ravel().tolist())
    if not (_IS_LITTLE_ENDIAN and array.dtype.isnative):
        array = array.astype(array.dtype.newbyteorder("<"))
    return array.tobytes()


def array_of_bytes(elements: Iterable[bytes]) -> NDArray[Any]:
    r"""Return a one-dimensional array of ``bytes`` objects; numpy's own string arrays would drop trailing zeros.

    >>> array_of_bytes([b"a\x00"])[0]
    b'a\x00'
    """
    values = list(elements)
    array = np.empty(len(values), np.object_)
    array[:] = values
    return array


def _dtype(name: str, datatype: str) -> np.dtype[Any]:
    try:
        return DATATYPES[datatype]
    except KeyError:
        raise InvalidRequest(
            f"Input {name!r} has the datatype {datatype!r}; this server takes {', '.join(DATATYPES)}."
        ) from None


def check_axes(name: str, shape: Sequence[int]) -> None:
    """See that a shape is one; multiplying a million axes would take hours, in integers that do not overflow.

    Raises:
        InvalidRequest: too many axes, or one that is not positive.
    """
    if len(shape) > MAX_AXES or min(shape, default=1) < 1:
        raise InvalidRequest(
            f"Input {name!r} has the shape {list(shape)[: MAX_AXES + 1]}; expected at most {MAX_AXES} axes, each of "
            "size 1 or more."
        )


def _count(name: str, shape: Sequence[int]) -> int:
    """Return the number of elements; Python's integers do not overflow, and nothing is allocated."""
    check_axes(name, shape)
    return math.prod(shape)


def _split(name: str, raw: bytes, count: int) -> list[bytes]:
    """Take a BYTES buffer apart; the buffer, not the claimed count, bounds the work."""
    elements: list[bytes] = []
    at = 0
    while at + _LENGTH.size <= len(raw) and len(elements) <= count:
        start = at + _LENGTH.size
        at = start + _LENGTH.unpack_from(raw, at)[0]
        elements.append(raw[start:at])
    if at != len(raw) or len(elements) != count:
        found = f"{len(elements)} whole elements" if at == len(raw) else "an element that is cut off"
        raise InvalidRequest(
            f"Input {name!r} is BYTES with {found} in {len(raw)} bytes; its shape holds {count}. Send each element "
            f"as its length, 4 bytes little-endian, and then its bytes."
        )
    return elements
