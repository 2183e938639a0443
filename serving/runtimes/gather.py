"""A one-node ONNX model that picks rows, so that rows can be picked where the tensors are.

Serving does not depend on the onnx package; a model of one node needs ten fields of ONNX's protobuf messages, written
here by hand. https://github.com/onnx/onnx/blob/main/onnx/onnx.proto has their numbers.
"""

from typing import Final

__all__ = ["ELEMENT_TYPES", "gather_model"]

ELEMENT_TYPES: Final = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float16": 10}
"""ONNX's number of each element type."""

_IR_VERSION: Final = 8
_OPSET: Final = 18


def gather_model(dtype: str) -> bytes:
    """Return a model that computes ``picked = tensor[rows]`` for tensors of one element type and of any rank."""
    node = _bytes(1, b"tensor") + _bytes(1, b"rows") + _bytes(2, b"picked") + _bytes(4, b"Gather")
    inputs = _bytes(11, _value(b"tensor", dtype)) + _bytes(11, _value(b"rows", "int64"))
    graph = _bytes(1, node) + _bytes(2, b"gather") + inputs + _bytes(12, _value(b"picked", dtype))
    return _number(1, _IR_VERSION) + _bytes(7, graph) + _bytes(8, _bytes(1, b"") + _number(2, _OPSET))


def _value(name: bytes, dtype: str) -> bytes:
    """A named tensor of any shape: ``ValueInfoProto``."""
    return _bytes(1, name) + _bytes(2, _bytes(1, _number(1, ELEMENT_TYPES[dtype])))


def _number(field: int, value: int) -> bytes:
    assert value < 0x80, "one byte holds seven bits"
    return bytes([field << 3, value])


def _bytes(field: int, value: bytes) -> bytes:
    assert len(value) < 0x80, "one byte holds seven bits"
    return bytes([field << 3 | 2, len(value)]) + value
