"""What became of the pieces of a text that should have been found: rightly, cut wrongly, called something else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from zoo.labels import Span

__all__ = ["FATES", "Fate", "Met", "met_spans"]

Fate = Literal["right", "wrong ends", "another label", "another label, wrong ends", "missed", "invented"]
"""What a piece came to."""

FATES: tuple[Fate, ...] = ("right", "wrong ends", "another label", "another label, wrong ends", "missed", "invented")


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """A wanted piece with the answered one that it met, or one of them alone.

    Attributes:
        fate: what came of it.
        wanted: the piece of the labels; None where it was invented.
        found: the piece of the answer; None where it was missed.
    """

    fate: Fate
    wanted: Span | None
    found: Span | None


def met_spans(wanted: Sequence[Span], found: Sequence[Span]) -> Iterator[Met]:
    """Match each wanted piece with the answered one that it shares most characters with, each at most once.

    The kinds of mistake are those of the Message Understanding Conferences' scorer (Chinchor & Sundheim 1993): correct,
    partial, incorrect, missing and spurious; partial and incorrect are told apart by ends and label.

    Args:
        wanted: pieces of the labels.
        found: pieces of the answer.

    >>> [each.fate for each in met_spans([Span(0, 4, "name"), Span(9, 12, "city")], [Span(0, 5, "name")])]
    ['wrong ends', 'missed']
    """
    shared = [
        (min(a.end, b.end) - max(a.start, b.start), a.label == b.label, i, j)
        for i, a in enumerate(wanted)
        for j, b in enumerate(found)
    ]
    partners: dict[int, int] = {}
    for overlap, _, i, j in sorted(shared, key=lambda each: (-each[0], not each[1], each[2], each[3])):
        if overlap > 0 and i not in partners and j not in partners.values():
            partners[i] = j
    for i, span in enumerate(wanted):
        other = found[partners[i]] if i in partners else None
        yield Met(fate=_fate(span, other), wanted=span, found=other)
    for j, span in enumerate(found):
        if j not in partners.values():
            yield Met(fate="invented", wanted=None, found=span)


def _fate(wanted: Span, found: Span | None) -> Fate:
    if found is None:
        return "missed"
    is_named, is_cut = wanted.label == found.label, (wanted.start, wanted.end) == (found.start, found.end)
    if is_named:
        return "right" if is_cut else "wrong ends"
    return "another label" if is_cut else "another label, wrong ends"
