"""Ready tensors, and batches of them."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import InvalidInput
from zoo.manifest import TensorPreprocessing, TensorSpec
from zoo.preprocessing import Preprocessor, collate, load_preprocessor


def load(*tensors: TensorSpec) -> Preprocessor:
    return load_preprocessor(TensorPreprocessing(tensors=tensors), lambda _digest: pytest.fail("no blob is needed"))


SIGNAL = TensorSpec(name="signal_NTC", dtype="float32", shape=("N", "T", 2))
MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))


def signal(length: int, fill: float = 1.0) -> dict[str, np.ndarray[Any, Any]]:
    return {"signal_NTC": np.full((length, 2), fill, np.float32), "mask_NT": np.ones(length, np.int64)}


def test_tensors_pass_unchanged_and_the_row_knows_its_length() -> None:
    raw = signal(5)
    row = load(SIGNAL, MASK)(raw)
    assert row.tensors["signal_NTC"] is raw["signal_NTC"]
    assert row.length == 5
    fixed = TensorSpec(name="x_NC", dtype="float32", shape=("N", 3))
    assert load(fixed)({"x_NC": np.zeros(3, np.float32)}).length == 1


def test_a_dynamic_axis_has_one_size_in_all_tensors_of_a_row() -> None:
    raw = {**signal(5), "mask_NT": np.ones(4, np.int64)}
    with pytest.raises(InvalidInput, match=r"mask_NT.*T = 5.*got \(4\)"):
        load(SIGNAL, MASK)(raw)


def test_text_and_bytes_are_refused_with_the_names_that_are_wanted() -> None:
    with pytest.raises(InvalidInput, match=r"signal_NTC, mask_NT.*got text"):
        load(SIGNAL, MASK)("hello")


def test_a_digest_covers_names_types_shapes_and_elements() -> None:
    def digest(name: str, array: np.ndarray[Any, Any]) -> str:
        axes = ("N", *array.shape)
        return load(TensorSpec(name=name, dtype=str(array.dtype), shape=axes))({name: array}).digest

    zeros = np.zeros((2, 3), np.float32)
    others: list[np.ndarray[Any, Any]] = [
        zeros.reshape(3, 2),
        zeros.astype(np.int32),
        zeros + 1,
        np.zeros((2, 3), np.float16),
    ]
    assert len({digest("a", array) for array in [zeros, *others]} | {digest("b", zeros)}) == 6
    assert digest("a", zeros) == digest("a", np.asfortranarray(zeros))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_a_batch_holds_every_row_whole_and_zeros_behind_it(lengths: list[int]) -> None:
    preprocess = load(SIGNAL, MASK)
    rows = [preprocess(signal(length, fill=index + 1.0)) for index, length in enumerate(lengths)]
    batch = collate(rows, preprocess)
    assert batch["signal_NTC"].shape == (len(rows), max(lengths), 2)
    for index, row in enumerate(rows):
        np.testing.assert_array_equal(batch["signal_NTC"][index, : row.length], row.tensors["signal_NTC"])
        assert not batch["signal_NTC"][index, row.length :].any()
        assert batch["mask_NT"][index].sum() == row.length
