from typing import Any

import numpy as np
import pytest

from heads.base.testing.neighbours import duplicates, near_duplicates
from heads.base.testing.vectors import Placed
from zoo.labels import Example


def placed(*rows: tuple[str, list[float]], digests: str = "") -> Placed:
    examples = [
        Example(id=f"x-{n}", text=f"text {n}", image="", split=split, slices=(), kind="label", target="a")  # type: ignore[arg-type]
        for n, (split, _) in enumerate(rows)
    ]
    known = tuple(digests or [str(number) for number in range(len(rows))])
    return Placed(examples=tuple(examples), digests=known, vectors=np.array([vector for _, vector in rows]))


def test_one_input_in_two_splits_is_an_error() -> None:
    found = list(duplicates(placed(("train", [1]), ("test", [2]), ("train", [3]), ("train", [4]), digests="aabb")))
    assert [(each.severity, each.ids) for each in found] == [("error", ("x-0", "x-1"))]


def test_a_test_example_is_compared_with_those_that_the_head_learned_from_or_was_chosen_by() -> None:
    vectors: list[tuple[str, list[float]]] = [
        ("train", [1, 0]),
        ("valid", [0, 1]),
        ("test", [0.99, 0.1]),
        ("test", [0, 2]),
    ]
    found = near_duplicates(placed(*vectors), above=0.9)
    assert [each.ids for each in found] == [("x-3", "x-1"), ("x-2", "x-0")], "the nearest pair first"
    assert found[0].text.startswith("1.000: x-3 (test) 'text 3', x-1 (valid) 'text 1'")


def test_examples_of_one_split_are_never_near_duplicates() -> None:
    assert near_duplicates(placed(("test", [1, 0]), ("test", [1, 0]), ("train", [0, 1])), above=0.5) == []


def test_a_bound_decides_what_is_near_and_an_option_how_bad_it_is() -> None:
    pair = placed(("train", [1.0, 0.0]), ("test", [1.0, 1.0]))
    assert near_duplicates(pair, above=0.8) == []
    (found,) = near_duplicates(pair, above=0.7, severity="error")
    assert found.severity == "error"


def test_a_vector_of_zeros_is_near_to_nothing() -> None:
    assert near_duplicates(placed(("train", [0, 0]), ("test", [0, 0])), above=0.1) == []


def test_many_inputs_that_are_the_same_hide_none_that_is_nearly_so() -> None:
    same: list[tuple[str, list[float]]] = [("test", [1.0, 0.0])] * 60
    rows = placed(("train", [1.0, 0.0]), *same, ("train", [0.0, 1.0]), ("test", [0.1, 1.0]), digests="a" * 61 + "bc")
    assert [each.ids for each in near_duplicates(rows, above=0.9)] == [("x-62", "x-61")]


@pytest.mark.parametrize("rows", [3000])
def test_many_examples_are_compared_block_by_block(rows: int) -> None:
    chance: Any = np.random.default_rng(0)
    vectors = chance.standard_normal((rows, 8))
    vectors[-1] = vectors[0]
    splits = ["train"] * (rows - 1) + ["test"]
    found = near_duplicates(placed(*zip(splits, vectors.tolist(), strict=True)), above=0.999)
    assert [each.ids for each in found] == [(f"x-{rows - 1}", "x-0")]
