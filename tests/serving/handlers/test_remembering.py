import asyncio

import numpy as np
import pytest

from serving.handlers.preparing import Preparation
from serving.handlers.remembering import RememberedRows
from zoo.errors import InvalidInput
from zoo.preprocessing import Row
from zoo.preprocessing.row import Raw, digest_text


class Counting:
    """A preprocessor that counts how often it is asked."""

    declared = ()
    spec = None

    def __init__(self) -> None:
        self.asked: list[Raw] = []

    def __call__(self, raw: Raw) -> Row:
        self.asked.append(raw)
        assert isinstance(raw, str)
        if "bad" in raw:
            raise InvalidInput("bad")
        return Row(tensors={"ids_NT": np.arange(len(raw))}, length=len(raw), digest=digest_text(raw), text=raw)


def rows_of(preparation: Preparation, preprocessor: Counting, *raws: str, preprocessing: str = "one") -> list[Row]:
    return asyncio.run(preparation.rows(raws, preprocessing, preprocessor))  # type: ignore[arg-type]  # it has no spec


def preparation(remembered_bytes: int = 1 << 20) -> Preparation:
    return Preparation(max_rows=10, max_bytes=10_000, remembered_bytes=remembered_bytes)


def test_a_text_that_comes_again_is_not_preprocessed_again() -> None:
    ours, preprocessor = preparation(), Counting()
    first, again = (rows_of(ours, preprocessor, "hello") for _ in range(2))
    assert first == again
    assert preprocessor.asked == ["hello"]


def test_another_way_to_preprocess_makes_another_row() -> None:
    ours, preprocessor = preparation(), Counting()
    for preprocessing in ("one", "two"):
        rows_of(ours, preprocessor, "hello", preprocessing=preprocessing)
    assert preprocessor.asked == ["hello", "hello"]


def test_with_no_memory_nothing_is_remembered() -> None:
    ours, preprocessor = preparation(0), Counting()
    for _ in range(2):
        rows_of(ours, preprocessor, "hello")
    assert preprocessor.asked == ["hello", "hello"]


def test_a_text_that_is_refused_is_refused_again() -> None:
    ours, preprocessor = preparation(), Counting()
    for _ in range(2):
        with pytest.raises(InvalidInput):
            rows_of(ours, preprocessor, "bad")
    assert preprocessor.asked == ["bad", "bad"]


def test_nobody_can_write_into_a_row_that_others_will_get() -> None:
    ours = preparation()
    [row] = rows_of(ours, Counting(), "hello")
    with pytest.raises(ValueError, match="read-only"):
        row.tensors["ids_NT"][0] = 7


def test_what_was_used_longest_ago_makes_room() -> None:
    rows = RememberedRows(5_500)
    for text in ("first", "second", "first", "third", "fourth"):
        if rows.get("p", text) is None:
            rows.put("p", text, Counting()(text))
    assert rows.get("p", "first") is not None
    assert rows.get("p", "second") is None
    assert rows.nbytes <= 5_500


def test_a_row_larger_than_the_whole_memory_throws_nothing_out() -> None:
    rows = RememberedRows(5_500)
    rows.put("p", "short", Counting()("short"))
    rows.put("p", "x" * 1000, Counting()("x" * 1000))
    assert len(rows) == 1
    assert rows.get("p", "short") is not None
