"""Counterexamples as a table that a person reads in a terminal."""

from collections.abc import Sequence

__all__ = ["as_table", "shown"]

_WIDEST = 60
_MOST_ROWS = 12


def shown(raw: str | bytes) -> str:
    r"""Return an input as one short line.

    >>> shown("two\nlines"), shown(b"123")
    ('two lines', 'image of 3 bytes')
    """
    text = " ".join(raw.split()) if isinstance(raw, str) else f"image of {len(raw):,} bytes"
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
