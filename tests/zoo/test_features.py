import logging
import sqlite3
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zoo.digest import digest_bytes
from zoo.errors import Unavailable
from zoo.features import FeatureCache, decode_arrays, encode_arrays

PATH, PREPROCESSING = digest_bytes(b"path"), digest_bytes(b"preprocessing")

arrays = hnp.arrays(
    dtype=st.sampled_from(["float32", "float16", "float64", "int64", "int32", "uint8", "bool"]),
    shape=hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
)


def key(number: int) -> str:
    return digest_bytes(str(number).encode())


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "features.sqlite"


@given(st.dictionaries(st.text(max_size=5), arrays, max_size=3))
def test_every_named_array_survives_its_encoding(named: dict[str, np.ndarray]) -> None:
    decoded = decode_arrays(encode_arrays(named))
    assert decoded.keys() == named.keys()
    for name, array in named.items():
        assert decoded[name].dtype == array.dtype
        assert decoded[name].shape == array.shape
        assert decoded[name].tobytes() == array.tobytes()


def test_transposed_and_big_endian_arrays_keep_their_values() -> None:
    array = np.arange(6, dtype=">i4").reshape(2, 3).T
    np.testing.assert_array_equal(decode_arrays(encode_arrays({"a": array}))["a"], array)


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError, match="numbers or booleans"):
        encode_arrays({"a": np.array([{"pickle": "me"}], dtype=object)})


def test_features_come_back_and_missing_ones_are_left_out(file: Path) -> None:
    cache = FeatureCache(file)
    assert cache.get_many(PATH, PREPROCESSING, [key(1)]) == {}
    cache.put_many(PATH, PREPROCESSING, {key(1): {"tokens": np.ones((3, 4), np.float32)}})
    found = cache.get_many(PATH, PREPROCESSING, [key(1), key(2)])
    assert found.keys() == {key(1)}
    np.testing.assert_array_equal(found[key(1)]["tokens"], np.ones((3, 4)))
    cache.close()
    assert cache.get_many(PATH, PREPROCESSING, [key(1)]).keys() == {key(1)}, "closed caches open again"
    cache.close()


def test_other_paths_and_preprocessings_are_other_features(file: Path) -> None:
    cache = FeatureCache(file)
    cache.put_many(PATH, PREPROCESSING, {key(1): {"a": np.zeros(1)}})
    assert cache.get_many(PREPROCESSING, PREPROCESSING, [key(1)]) == {}
    assert cache.get_many(PATH, PATH, [key(1)]) == {}
    cache.close()


def test_features_put_again_replace_the_old_ones(file: Path) -> None:
    cache = FeatureCache(file)
    for value in (1, 2):
        cache.put_many(PATH, PREPROCESSING, {key(1): {"a": np.array([value])}})
    assert cache.get_many(PATH, PREPROCESSING, [key(1)])[key(1)]["a"].tolist() == [2]
    cache.close()


def test_a_damaged_row_is_a_miss_and_the_others_are_not(file: Path) -> None:
    cache = FeatureCache(file)
    cache.put_many(PATH, PREPROCESSING, {key(n): {"a": np.full(3, n)} for n in range(3)})
    cache.close()
    with sqlite3.connect(file) as connection:
        value = connection.execute("SELECT value FROM feature WHERE input = ?", (key(1),)).fetchone()[0]
        flipped = value[:-1] + bytes([value[-1] ^ 1])
        connection.execute("UPDATE feature SET value = ? WHERE input = ?", (flipped, key(1)))
    connection.close()
    assert cache.get_many(PATH, PREPROCESSING, [key(n) for n in range(3)]).keys() == {key(0), key(2)}
    cache.close()


@pytest.mark.parametrize("damage", ["garbage", "cut"])
def test_a_damaged_file_is_replaced_by_an_empty_cache(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    cache = FeatureCache(file)
    rows = {key(n): {"a": np.arange(2_000)} for n in range(50)}
    cache.put_many(PATH, PREPROCESSING, rows)
    cache.close()
    whole = file.read_bytes()
    file.write_bytes(b"not a database" * 500 if damage == "garbage" else whole[:4096] + b"\xff" * (len(whole) - 4096))
    with caplog.at_level(logging.WARNING):
        assert cache.get_many(PATH, PREPROCESSING, list(rows)) == {}
        assert "starts again, empty" in caplog.text
    cache.put_many(PATH, PREPROCESSING, rows)
    assert len(cache.get_many(PATH, PREPROCESSING, list(rows))) == 50
    cache.close()


@settings(deadline=None, max_examples=10)
@given(st.binary(min_size=1, max_size=64), st.floats(0, 1))
def test_no_damage_to_the_file_ever_gives_wrong_features(noise: bytes, where: float) -> None:
    rows = {key(n): {"a": np.full(200, n)} for n in range(20)}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "features.sqlite"
        cache = FeatureCache(file)
        cache.put_many(PATH, PREPROCESSING, rows)
        cache.close()
        data = bytearray(file.read_bytes())
        start = int(where * (len(data) - len(noise)))
        data[start : start + len(noise)] = noise
        file.write_bytes(data)
        for name, arrays in cache.get_many(PATH, PREPROCESSING, list(rows)).items():
            np.testing.assert_array_equal(arrays["a"], rows[name]["a"])
        cache.close()


def test_thousands_of_rows_are_found_in_one_call(file: Path) -> None:
    cache = FeatureCache(file)
    rows = {key(n): {"pooled": np.full(384, n, np.float32)} for n in range(3_000)}
    cache.put_many(PATH, PREPROCESSING, rows)
    found = cache.get_many(PATH, PREPROCESSING, list(rows))
    assert all(found[name]["pooled"][0] == rows[name]["pooled"][0] for name in rows)
    cache.close()


def test_threads_and_a_second_process_handle_share_one_cache(file: Path) -> None:
    cache, other = FeatureCache(file), FeatureCache(file)

    def work(number: int) -> int:
        mine = (cache, other)[number % 2]
        mine.put_many(PATH, PREPROCESSING, {key(number): {"a": np.array([number])}})
        return int(mine.get_many(PATH, PREPROCESSING, [key(number)])[key(number)]["a"][0])

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(40))) == list(range(40))
    assert len(other.get_many(PATH, PREPROCESSING, [key(n) for n in range(40)])) == 40
    cache.close()
    other.close()


def test_a_cache_that_cannot_be_opened_says_where_and_what_to_do(file: Path) -> None:
    file.mkdir()
    cache = FeatureCache(file)
    with pytest.raises(Unavailable, match=r"features.sqlite cannot be used: .* only a cache"):
        cache.put_many(PATH, PREPROCESSING, {key(1): {"a": np.zeros(1)}})
    with pytest.raises(Unavailable):
        cache.get_many(PATH, PREPROCESSING, [key(1)])


def test_handles_that_make_the_file_at_the_same_moment_all_get_it(tmp_path: Path) -> None:
    handles = 8

    def use(file: Path, barrier: threading.Barrier) -> None:
        cache = FeatureCache(file)
        barrier.wait()
        try:
            cache.put_many("path", "spec", {"input": {"a": np.zeros(1, np.float32)}})
        finally:
            cache.close()

    for number in range(20):
        barrier = threading.Barrier(handles)
        with ThreadPoolExecutor(handles) as pool:
            done = [pool.submit(use, tmp_path / f"{number}.sqlite", barrier) for _ in range(handles)]
        assert [each.exception() for each in done] == [None] * handles
