import re
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from serving.codec import DATATYPES, array_of_bytes, datatype_of, decode_elements, decode_raw, encode_raw
from serving.errors import InvalidRequest

NUMERIC = sorted(set(DATATYPES) - {"BYTES"})
SHAPES = arrays.array_shapes(min_dims=1, max_dims=4, max_side=5)


@given(data=st.data(), datatype=st.sampled_from(NUMERIC), shape=SHAPES)
def test_numbers_survive_the_wire(data: st.DataObject, datatype: str, shape: tuple[int, ...]) -> None:
    array = data.draw(arrays.arrays(DATATYPES[datatype], shape))
    assert datatype_of(array) == datatype
    decoded = decode_raw("x", datatype, shape, encode_raw(array))
    assert decoded.dtype == array.dtype
    np.testing.assert_array_equal(decoded, array)


@given(elements=st.lists(st.binary(max_size=9), min_size=1, max_size=9))
def test_byte_strings_survive_the_wire_whatever_is_in_them(elements: list[bytes]) -> None:
    encoded = encode_raw(array_of_bytes(elements))
    assert decode_raw("x", "BYTES", [len(elements), 1], encoded).ravel().tolist() == elements


def test_byte_strings_have_their_length_before_them_little_endian() -> None:
    assert encode_raw(array_of_bytes([b"hi", b""])) == struct.pack("<I", 2) + b"hi" + struct.pack("<I", 0)


@given(datatype=st.sampled_from(sorted(DATATYPES)), shape=st.lists(st.integers(-(2**63), 2**63 - 1)), raw=st.binary())
def test_any_claim_about_any_bytes_is_decoded_or_refused(datatype: str, shape: list[int], raw: bytes) -> None:
    try:
        decoded = decode_raw("x", datatype, shape, raw)
    except InvalidRequest:
        return
    assert list(decoded.shape) == shape
    assert encode_raw(decoded) == raw


@pytest.mark.parametrize("datatype", sorted(DATATYPES))
@pytest.mark.parametrize("shape", [[2**62], [2**40, 2**40], [2**63 - 1] * 8])
def test_a_small_message_that_claims_a_huge_shape_allocates_nothing(datatype: str, shape: list[int]) -> None:
    with pytest.raises(InvalidRequest, match=r"Input 'x'"):
        decode_raw("x", datatype, shape, b"\0" * 16)


@pytest.mark.parametrize("shape", [[-1], [0], [2, 0], [1] * 9])
def test_an_axis_that_is_none_is_refused_with_what_was_found_and_expected(shape: list[int]) -> None:
    with pytest.raises(InvalidRequest, match=rf"'x' has the shape {re.escape(str(shape))}; expected at most 8 axes"):
        decode_raw("x", "FP32", shape, b"")


def test_an_unknown_type_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidRequest, match="'FP64'; this server takes BOOL, UINT8, INT32, INT64, FP16, FP32, BYTES"):
        decode_raw("x", "FP64", [1], b"\0" * 8)


@pytest.mark.parametrize("raw", [b"", b"\0" * 7, b"\0" * 9])
def test_bytes_that_do_not_fill_the_shape_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidRequest, match=rf"has {len(raw)} bytes of raw contents; FP32 of shape \[2\] takes 8"):
        decode_raw("x", "FP32", [2], raw)


def test_a_truth_value_is_0_or_1() -> None:
    with pytest.raises(InvalidRequest, match="a byte of value 7"):
        decode_raw("x", "BOOL", [2], b"\1\7")


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (struct.pack("<I", 3) + b"ab", "an element that is cut off"),
        (b"\1\0", "an element that is cut off"),
        (struct.pack("<I", 1) + b"a", "1 whole elements"),
        (struct.pack("<I", 0) * 5, "an element that is cut off|3 whole elements"),
        (struct.pack("<I", 2**32 - 1), "an element that is cut off"),
    ],
)
def test_a_malformed_byte_string_buffer_is_refused(raw: bytes, found: str) -> None:
    with pytest.raises(InvalidRequest, match=found):
        decode_raw("x", "BYTES", [2], raw)


@pytest.mark.parametrize(
    ("datatype", "elements", "expected"),
    [
        ("BOOL", [True, False], np.array([True, False])),
        ("UINT8", [0, 255], np.array([0, 255], np.uint8)),
        ("INT32", [-(2**31), 5], np.array([-(2**31), 5], np.int32)),
        ("INT64", [-(2**63), 5], np.array([-(2**63), 5], np.int64)),
        ("FP32", [0.5, -1.0], np.array([0.5, -1.0], np.float32)),
    ],
)
def test_typed_elements_are_taken_too(datatype: str, elements: list[float], expected: NDArray[np.generic]) -> None:
    decoded = decode_elements("x", datatype, [2], elements)
    assert decoded.dtype == expected.dtype
    np.testing.assert_array_equal(decoded, expected)


def test_typed_byte_strings_are_taken_too() -> None:
    assert decode_elements("x", "BYTES", [1, 2], [b"a\0", b""]).tolist() == [[b"a\0", b""]]


def test_an_element_out_of_its_types_range_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="an element that is no UINT8"):
        decode_elements("x", "UINT8", [1], [256])


def test_another_number_of_elements_than_the_shape_has_is_refused() -> None:
    with pytest.raises(InvalidRequest, match=r"3 elements in its contents; FP32 of shape \[2\] takes 2"):
        decode_elements("x", "FP32", [2], [1.0, 2.0, 3.0])
