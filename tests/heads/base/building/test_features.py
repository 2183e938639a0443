"""Features: computed once, padded little, and free of padding when they are stored."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from heads.base.building.features import batches_by_length, features_of
from zoo.features import FeatureCache
from zoo.manifest import TensorPreprocessing, TensorSpec
from zoo.preprocessing import Row, load_preprocessor

SPECS = (
    TensorSpec(name="ids_NT", dtype="int64", shape=("N", "T")),
    TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
)
PREPROCESSOR = load_preprocessor(TensorPreprocessing(tensors=SPECS), lambda _digest: b"")


class Doubling:
    """Frozen stages that double the ids, and remember how many rows and tokens they saw."""

    path_digest = "a" * 64
    computed: Mapping[str, TensorSpec] = {
        "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", 1))
    }

    def __init__(self) -> None:
        self.rows = 0
        self.tokens = 0

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.rows += len(batch["ids_NT"])
        self.tokens += batch["ids_NT"].size
        return {"tokens_NTD": np.float32(2) * batch["ids_NT"][..., None].astype(np.float32)}


def row(number: int, length: int) -> Row:
    tensors = {"ids_NT": np.full(length, number), "mask_NT": np.ones(length, np.int64)}
    return Row(tensors=tensors, length=length, digest=f"{number:064x}")


def test_rows_are_computed_once_and_come_back_in_order_and_trimmed(tmp_path: Path) -> None:
    cache, prefix, told = FeatureCache(tmp_path / "f.sqlite"), Doubling(), list[tuple[int, int]]()
    rows = [row(number, 1 + number % 7) for number in range(1, 80)]

    def compute(rows: list[Row]) -> list[dict[str, NDArray[Any]]]:
        return features_of(
            rows,
            prefix=prefix,
            preprocessor=PREPROCESSOR,
            cache=cache,
            on_rows=lambda done, total: told.append((done, total)),
        )

    for found, each in zip(compute(rows), rows, strict=True):
        assert found["tokens_NTD"].shape == (each.length, 1)
        assert (found["tokens_NTD"] == 2 * each.tensors["ids_NT"][:, None]).all()
        assert found["mask_NT"] is each.tensors["mask_NT"]
    assert prefix.rows == 79
    assert told[0] == (0, 79)
    assert told[-1] == (79, 79)
    compute([*rows, rows[0]])
    assert prefix.rows == 79, "all of it was in the cache"
    compute([*rows, row(99, 3), row(99, 3)])
    assert prefix.rows == 80, "one new input, asked for twice"
    cache.close()


@given(st.lists(st.integers(1, 256), max_size=200))
def test_batches_hold_every_row_once_and_are_bounded(lengths: list[int]) -> None:
    rows = [row(number, length) for number, length in enumerate(lengths)]
    batches = batches_by_length(rows)
    assert sorted(each.digest for batch in batches for each in batch) == [each.digest for each in rows]
    for batch in batches:
        longest = max(each.length for each in batch)
        assert len(batch) <= 64
        assert len(batch) == 1 or len(batch) * longest <= 2048
