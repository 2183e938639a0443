import gc
import tracemalloc
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from serving.cache import ARRAY_BYTES, ENTRY_BYTES, CacheKey, NodeCache
from zoo.digest import digest_bytes

A = frozenset({"a"})
SIZE = ENTRY_BYTES + ARRAY_BYTES + 8


def key(number: int, path: str = "path") -> CacheKey:
    return CacheKey("preprocessing", path, f"input {number}")


def value(number: int) -> dict[str, NDArray[Any]]:
    return {"a": np.array([number])}


def test_what_was_put_is_found_under_its_key_and_no_other() -> None:
    cache = NodeCache(10_000)
    cache.put(key(1), value(7))
    assert cache.get(key(1), A)["a"].tolist() == [7]
    for other in (key(2), key(1, "another path"), CacheKey("another preprocessing", "path", "input 1")):
        assert not cache.get(other, A)
    assert (cache.hits, cache.misses, len(cache)) == (1, 3, 1)


def test_an_entry_that_lacks_a_tensor_is_a_miss_until_it_is_put_too() -> None:
    cache = NodeCache(10_000)
    cache.put(key(1), value(7))
    both = frozenset({"a", "b"})
    assert not cache.get(key(1), both)
    cache.put(key(1), {"b": np.array([8])})
    assert {name: array.tolist() for name, array in cache.get(key(1), both).items()} == {"a": [7], "b": [8]}
    assert cache.nbytes == SIZE + ARRAY_BYTES + 8


def test_what_is_put_is_a_copy_that_nobody_can_write_to() -> None:
    cache = NodeCache(10_000)
    batch = np.arange(6).reshape(2, 3)
    cache.put(key(1), {"a": batch[1]})
    batch[:] = 0
    found = cache.get(key(1), A)["a"]
    assert found.tolist() == [3, 4, 5]
    assert found.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        found[0] = 1


def test_an_array_that_cannot_change_any_more_is_kept_without_another_copy() -> None:
    cache = NodeCache(10_000)
    array = np.arange(3)
    array.setflags(write=False)
    cache.put(key(1), {"a": array})
    assert cache.get(key(1), A)["a"] is array


def test_a_row_without_a_digest_is_neither_kept_nor_found() -> None:
    cache = NodeCache(10_000)
    nameless = CacheKey("preprocessing", "path", "")
    cache.put(nameless, value(1))
    assert not cache.get(nameless, A)
    assert (len(cache), cache.hits, cache.misses) == (0, 0, 0)


def test_no_bytes_keep_nothing_and_count_nothing() -> None:
    cache = NodeCache(0)
    cache.put(key(1), value(1))
    assert not cache.get(key(1), A)
    assert (cache.on, len(cache), cache.nbytes, cache.hits, cache.misses, cache.evictions) == (False, 0, 0, 0, 0, 0)


def test_what_was_used_longest_ago_makes_room() -> None:
    cache = NodeCache(3 * SIZE)
    for number in range(3):
        cache.put(key(number), value(number))
    cache.get(key(0), A)
    cache.put(key(3), value(3))
    assert [bool(cache.get(key(number), A)) for number in range(4)] == [True, False, True, True]
    assert cache.evictions == 1


def test_an_entry_larger_than_all_of_it_is_not_kept_and_throws_nothing_out() -> None:
    cache = NodeCache(2 * SIZE)
    cache.put(key(1), value(1))
    cache.put(key(2), {"a": np.zeros(SIZE, np.int64)})
    assert cache.get(key(1), A)
    assert not cache.get(key(2), A)


@given(
    max_entries=st.integers(1, 4),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 7)), max_size=60),
)
def test_it_holds_what_a_list_in_order_of_use_would_hold(max_entries: int, steps: list[tuple[bool, int]]) -> None:
    cache = NodeCache(max_entries * SIZE)
    model: OrderedDict[int, int] = OrderedDict()
    for put, number in steps:
        if put:
            cache.put(key(number), value(number))
            model[number] = number
            model.move_to_end(number)
            while len(model) > max_entries:
                model.popitem(last=False)
        else:
            found = cache.get(key(number), A)
            assert bool(found) == (number in model)
            if found:
                assert found["a"].tolist() == [number]
                model.move_to_end(number)
        assert (len(cache), cache.nbytes) == (len(model), len(model) * SIZE)


def test_threads_that_put_and_get_at_once_find_right_values_and_keep_the_books_right() -> None:
    cache = NodeCache(20 * SIZE)

    def work(seed: int) -> None:
        generator = np.random.default_rng(seed)
        for number in generator.integers(0, 60, 400):
            cache.put(key(number), value(number))
            if found := cache.get(key(number), A):
                assert found["a"].tolist() == [number]

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    assert cache.nbytes == len(cache) * SIZE <= cache.max_bytes
    assert cache.hits + cache.misses == 1600


def test_what_it_says_it_takes_is_about_what_it_takes() -> None:
    preprocessing, path = digest_bytes(b"preprocessing"), digest_bytes(b"path")
    cache = NodeCache(100 * 2**20)
    gc.collect()
    tracemalloc.start()
    for number in range(2000):
        arrays: dict[str, NDArray[Any]] = {"tokens_NTD": np.zeros((5, 8), np.float32), "mask_NT": np.zeros(5, np.int64)}
        cache.put(CacheKey(preprocessing, path, digest_bytes(str(number).encode())), arrays)
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 0.7 * taken <= cache.nbytes <= 1.5 * taken
