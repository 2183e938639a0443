"""Raw inputs to rows, in threads where that takes longer than a short text does."""

import asyncio
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from serving.errors import Overloaded
from serving.handlers.remembering import RememberedRows
from zoo.errors import InvalidInput
from zoo.preprocessing import Preprocessor, Row
from zoo.preprocessing.row import Raw

__all__ = ["Preparation"]

INLINE_BYTES = 2048
"""What is preprocessed on the event loop: a thread would cost more than a short text takes (tens of microseconds)."""


class Preparation:
    """Preprocesses, and refuses what would wait behind too much. Lives on one event loop.

    Args:
        max_rows: how many rows may be at work or waiting for a thread.
        max_bytes: how many bytes these may have; alone, a request of any size is let in.
        remembered_bytes: of rows that are kept for short texts that come again; 0 keeps none.
    """

    def __init__(self, *, max_rows: int, max_bytes: int, remembered_bytes: int = 0) -> None:
        self._remembered = RememberedRows(remembered_bytes)
        self._max_rows = max_rows
        self._max_bytes = max_bytes
        self._rows = 0
        self._bytes = 0
        self._threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="hydrazoo-preprocess")

    async def rows(self, raws: Sequence[Raw], preprocessing: str, preprocessor: Preprocessor) -> list[Row]:
        """Preprocess the inputs of one request.

        Args:
            raws: the inputs.
            preprocessing: the digest of what is declared.
            preprocessor: does it.

        Raises:
            InvalidInput: an input does not fit; of several, the text says which.
            Overloaded: too much is being preprocessed already.
        """
        if len(raws) == 1 and isinstance(raw := raws[0], str) and len(raw) <= INLINE_BYTES:
            return [self._row(raw, preprocessing, preprocessor)]
        size = sum(map(_size, raws))
        # A few bytes of an image can stand for millions of pixels.
        if size <= INLINE_BYTES and not any(isinstance(raw, bytes) for raw in raws):
            return _preprocess(raws, preprocessor)
        with self._place(len(raws), size):
            return await asyncio.get_running_loop().run_in_executor(self._threads, _preprocess, raws, preprocessor)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _row(self, text: str, preprocessing: str, preprocessor: Preprocessor) -> Row:
        """Return the row of a short text, as it was the last time or made anew."""
        row = self._remembered.get(preprocessing, text)
        if row is None:
            row = preprocessor(text)
            self._remembered.put(preprocessing, text, row)
        return row

    @contextmanager
    def _place(self, rows: int, size: int) -> Iterator[None]:
        if self._rows and (self._rows + rows > self._max_rows or self._bytes + size > self._max_bytes):
            raise Overloaded(
                f"{self._rows} rows of {self._bytes:,} bytes are being preprocessed, and the server keeps at most "
                f"{self._max_rows} of {self._max_bytes:,}; try again in a moment."
            )
        self._rows += rows
        self._bytes += size
        try:
            yield
        finally:
            self._rows -= rows
            self._bytes -= size


def _size(raw: Raw) -> int:
    """Return about how many bytes an input has.

    >>> _size("four")
    4
    """
    return sum(array.nbytes for array in raw.values()) if isinstance(raw, Mapping) else len(raw)


def _preprocess(raws: Sequence[Raw], preprocessor: Preprocessor) -> list[Row]:
    rows = []
    for position, raw in enumerate(raws):
        try:
            rows.append(preprocessor(raw))
        except InvalidInput as error:
            if len(raws) == 1:
                raise
            raise type(error)(f"Row {position} of {len(raws)}: {error}") from error
    return rows
