"""What a check of labels found."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heads.base.testing.tables import as_table

__all__ = ["Finding", "Severity", "as_text"]

Severity = Literal["error", "warning", "note"]
"""An error makes scores a lie or training pointless; a warning wants to be looked at; a note is good to know."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that a person should look at.

    Attributes:
        severity: how bad.
        kind: what sort of thing: "duplicate", "few examples", …
        ids: the examples that it is about, none where it is about all.
        text: what was found, and what to do.
    """

    severity: Severity
    kind: str
    ids: tuple[str, ...]
    text: str


def as_text(findings: Sequence[Finding]) -> str:
    """Return findings as a table."""
    return as_table(("", "what", "found"), [(each.severity, each.kind, each.text) for each in findings])
