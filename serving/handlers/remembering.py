"""Rows of short texts that were seen lately: a text that comes again is not tokenised again."""

from collections import OrderedDict

from zoo.preprocessing import Row

__all__ = ["RememberedRows"]

ROW_BYTES = 800
"""About what a row takes besides its tokens and its text."""

TOKEN_BYTES = 180
"""About what a token takes: its id, its place in the mask, and where it stands in the text."""


class RememberedRows:
    """Rows by preprocessing and text; what was used longest ago makes room. Lives on one event loop.

    A row says nothing of stages or heads, so it stays right whatever is promoted. Its arrays cannot be written to.

    Args:
        max_bytes: what they may take together, by estimate; 0 keeps none.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._nbytes = 0
        self._rows: OrderedDict[tuple[str, str], Row] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def nbytes(self) -> int:
        """What the rows take, by estimate."""
        return self._nbytes

    def get(self, preprocessing: str, text: str) -> Row | None:
        """Return the row that a text became under the preprocessing of this digest, if it is still known."""
        row = self._rows.get((preprocessing, text))
        if row is not None:
            self._rows.move_to_end((preprocessing, text))
        return row

    def put(self, preprocessing: str, text: str, row: Row) -> None:
        """Keep a row; one that is too large for the whole memory is not kept."""
        size = _size(row)
        if size > self._max_bytes or (preprocessing, text) in self._rows:
            return
        for array in row.tensors.values():
            array.setflags(write=False)
        self._rows[preprocessing, text] = row
        self._nbytes += size
        while self._nbytes > self._max_bytes:
            _, oldest = self._rows.popitem(last=False)
            self._nbytes -= _size(oldest)


def _size(row: Row) -> int:
    return ROW_BYTES + TOKEN_BYTES * row.length + len(row.text)
