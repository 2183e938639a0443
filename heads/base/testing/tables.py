"""Counterexamples as a table that a person reads in a terminal."""

from collections.abc import Sequence

from zoo.digest import SHORT_DIGEST_LENGTH, digest_bytes

__all__ = ["as_table", "shown"]

_WIDEST = 60
_MOST_ROWS = 12


def shown(raw: str | bytes) -> str:
    r"""Return an input as one short line: a text, or the beginning of an image's digest in the blob store.

    >>> shown("two\nlines"), shown(b"123")
    ('two lines', 'image b3d4f8803f7e…')
    """
    text = " ".join(raw.split()) if isinstance(raw, str) else f"image {digest_bytes(raw)[:SHORT_DIGEST_LENGTH]}…"
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 1]}…"


def as_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return rows as lines with aligned columns; of many, the first few.

    >>> print(as_table(("input", "answer"), [("hello", "greeting"), ("hi", "refund")]))
      input  answer
      hello  greeting
      hi     refund
    """
    chosen = [tuple(columns), *(tuple(row) for row in rows[:_MOST_ROWS])]
    widths = [max(len(row[place]) for row in chosen) for place in range(len(columns))]
    lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in chosen]
    left = len(rows) - _MOST_ROWS
    return "\n".join(lines + ([f"  … and {left} more"] if left > 0 else []))
