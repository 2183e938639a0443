"""The feature cache: outputs of frozen stages, kept in one local SQLite file.

It is a cache and only that: every row carries the digest of its bytes, a damaged row reads as a miss, and a
damaged file is replaced by an empty one. Arrays are stored as a JSON header and raw bytes, never pickled.

The release of torch and the device that computed a row are not in its key, on purpose: they change features by
rounding, far less than the noise of training does, and computing all of them again on every machine would cost more
than that. At worst a borderline test example counts differently. What is served is not at risk: parity compares the
exports with features that are computed afresh.
"""

import json
import logging
import sqlite3
import struct
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from zoo.errors import Unavailable
from zoo.sqlite import use_write_ahead_log

__all__ = ["FeatureCache", "decode_arrays", "encode_arrays"]

Arrays = Mapping[str, NDArray[Any]]

_log = logging.getLogger(__name__)
_LOOKUP_ROWS = 500  # SQLite builds of old allow 999 parameters in one statement
_BUSY_TIMEOUT_S = 30.0
_SCHEMA = """
CREATE TABLE IF NOT EXISTS space (
    id INTEGER PRIMARY KEY, path TEXT NOT NULL, preprocessing TEXT NOT NULL, UNIQUE (path, preprocessing));
CREATE TABLE IF NOT EXISTS feature (
    space INTEGER NOT NULL, input TEXT NOT NULL, digest BLOB NOT NULL, value BLOB NOT NULL,
    UNIQUE (space, input));
"""


def encode_arrays(arrays: Arrays) -> bytes:
    """Return named arrays as one byte string: length of the header, JSON header, then each array's bytes in C order.

    >>> decoded = decode_arrays(encode_arrays({"a": np.arange(3, dtype=np.int64)}))
    >>> decoded["a"].tolist()
    [0, 1, 2]
    """
    plain = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    header = [[name, array.dtype.newbyteorder("<").str, array.shape] for name, array in plain.items()]
    if any(array.dtype.kind not in "biuf" for array in plain.values()):
        raise TypeError(f"features are numbers or booleans; got { ({n: str(a.dtype) for n, a in plain.items()}) }")
    encoded = json.dumps(header).encode()
    bodies = (array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes() for array in plain.values())
    return struct.pack("<I", len(encoded)) + encoded + b"".join(bodies)


def decode_arrays(data: bytes) -> dict[str, NDArray[Any]]:
    """Return the named arrays of ``encode_arrays``; each is writable and owns its memory."""
    (header_length,) = struct.unpack_from("<I", data)
    offset = 4 + header_length
    arrays: dict[str, NDArray[Any]] = {}
    for name, dtype, shape in json.loads(data[4:offset]):
        count = int(np.prod(shape))
        arrays[name] = np.frombuffer(data, dtype=dtype, count=count, offset=offset).reshape(shape).copy()
        offset += arrays[name].nbytes
    return arrays


class FeatureCache:
    """Named arrays by (path digest, preprocessing digest, input digest); safe to share between threads and processes.

    Args:
        file: the SQLite file; made when the cache is first used.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._opened: list[sqlite3.Connection] = []

    def get_many(
        self, path_digest: str, preprocessing_digest: str, input_digests: Sequence[str]
    ) -> dict[str, dict[str, NDArray[Any]]]:
        """Return the features that are stored, by input digest; what is missing or damaged is left out.

        Raises:
            Unavailable: the file cannot be opened.
        """
        if not self._opened and not self._file.exists():
            return {}
        found: dict[str, dict[str, NDArray[Any]]] = {}
        with self._healing() as connection:
            space = _find_space(connection, path_digest, preprocessing_digest)
            for chunk in _chunks(input_digests, _LOOKUP_ROWS):
                found.update(_read_rows(connection, space, chunk))
        return found

    def put_many(self, path_digest: str, preprocessing_digest: str, rows: Mapping[str, Arrays]) -> None:
        """Store the features of several inputs in one transaction, replacing what was there.

        Raises:
            Unavailable: the file cannot be opened or written.
        """
        values = [(digest, encode_arrays(arrays)) for digest, arrays in rows.items()]
        with self._healing() as connection, connection:
            connection.execute(
                "INSERT OR IGNORE INTO space (path, preprocessing) VALUES (?, ?)", (path_digest, preprocessing_digest)
            )
            space = _find_space(connection, path_digest, preprocessing_digest)
            connection.executemany(
                "INSERT OR REPLACE INTO feature (space, input, digest, value) VALUES (?, ?, ?, ?)",
                ((space, digest, _check(digest, value), value) for digest, value in values),
            )

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        with self._lock:
            self._close()

    def _close(self) -> None:
        while self._opened:
            self._opened.pop().close()

    @contextmanager
    def _healing(self) -> Iterator[sqlite3.Connection]:
        """Give the connection; a file that turns out to be damaged is dropped, and the work counts as not done."""
        with self._lock:
            try:
                yield self._connection()
            except sqlite3.OperationalError as error:
                raise Unavailable(
                    f"The feature cache {self._file} cannot be used: {error}. Make sure that it can be written and "
                    "that the disk has room. It is only a cache: it may be deleted while nobody uses it."
                ) from error
            except sqlite3.DatabaseError as error:
                _log.warning("The feature cache %s is damaged (%s); it starts again, empty.", self._file, error)
                self._drop()

    def _connection(self) -> sqlite3.Connection:
        if not self._opened:
            try:
                self._opened.append(_open(self._file))
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                _log.warning("The feature cache %s is damaged (%s); it starts again, empty.", self._file, error)
                self._drop()
                self._opened.append(_open(self._file))
        return self._opened[0]

    def _drop(self) -> None:
        self._close()
        for suffix in ("", "-wal", "-shm"):
            self._file.with_name(self._file.name + suffix).unlink(missing_ok=True)


def _open(file: Path) -> sqlite3.Connection:
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file, timeout=_BUSY_TIMEOUT_S, check_same_thread=False)
    try:
        use_write_ahead_log(connection, _BUSY_TIMEOUT_S)
        connection.execute("PRAGMA synchronous=OFF")  # a cache: losing it costs time, never truth
        connection.executescript(_SCHEMA)
    except BaseException:
        connection.close()
        raise
    return connection


def _find_space(connection: sqlite3.Connection, path_digest: str, preprocessing_digest: str) -> int:
    query = "SELECT id FROM space WHERE path = ? AND preprocessing = ?"
    row = connection.execute(query, (path_digest, preprocessing_digest)).fetchone()
    return int(row[0]) if row else 0


def _read_rows(connection: sqlite3.Connection, space: int, inputs: Sequence[str]) -> dict[str, dict[str, NDArray[Any]]]:
    marks = ",".join("?" * len(inputs))
    query = f"SELECT input, digest, value FROM feature WHERE space = ? AND input IN ({marks})"  # noqa: S608 - only marks
    rows = connection.execute(query, (space, *inputs))
    return {name: decode_arrays(value) for name, digest, value in rows if _check(name, value) == digest}


def _check(input_digest: str, value: bytes) -> bytes:
    return blake3(input_digest.encode()).update(value).digest()


def _chunks(items: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (items[start : start + size] for start in range(0, len(items), size))
