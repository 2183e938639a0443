"""What a report says of pieces of a text: which tokens are taken for which, and what became of each wanted piece."""

from collections import Counter
from typing import cast

import numpy as np
from numpy.typing import NDArray

from heads.base.inspect import figures
from heads.base.inspect.collect import Judged, Subject
from heads.base.inspect.page import Html, element, table
from heads.base.inspect.sections_about import drawn, note
from heads.base.inspect.spans import FATES, Met, met_spans
from heads.base.inspect.statistics import confusion
from heads.base.tasks.targets import tag_tokens
from zoo.labels import Span
from zoo.manifest import TagAnswer

__all__ = ["NO_LABEL", "span_confusion", "wanted_tags"]

NO_LABEL = "none"
"""What stands for tokens that are in no piece."""

_MOST_SHOWN = 10
_MOST_LABELS_DRAWN = 60
_AROUND = 24


def span_confusion(subject: Subject) -> list[Html]:
    """Return a confusion matrix of tokens, what became of the pieces of each label, and the mistakes made most."""
    labels = cast("TagAnswer", subject.manifest.answer).labels
    body = []
    if len(labels) < _MOST_LABELS_DRAWN:
        caption = (
            "A row is the label that tokens want, a column the likeliest of what they were given, as shares of the "
            f"row; begin and inside of a piece count as one, and {NO_LABEL!r} is outside of all pieces."
        )
        matrix = figures.confusion_matrix(_token_counts(subject, labels), (NO_LABEL, *labels), as_shares=True)
        body.append(drawn(matrix, "confusion", caption))
    met = [(each, one) for each in subject.judged for one in met_spans(_spans(each)[0], _spans(each)[1])]
    fates = Counter(((one.wanted or cast("Span", one.found)).label, one.fate) for _, one in met)
    rows = [(label, *(f"{fates[label, fate]}" for fate in FATES)) for label in labels]
    told = element(
        "p",
        "What became of each piece, counted under the label that it wants; those invented, under the one they were "
        "given. Wrong ends are often a matter of how pieces were marked, another label is not.",
    )
    return [*body, element("h3", "Pieces"), told, table(("label", *FATES), rows, numbers=range(1, 7)), *_frequent(met)]


def wanted_tags(labels: tuple[str, ...], judged: Judged) -> NDArray[np.int64]:
    """Return the tag that each token of an example wants, (T,)."""
    return np.array(tag_tokens(labels, _spans(judged)[0], judged.row.offsets), np.int64)


def _token_counts(subject: Subject, labels: tuple[str, ...]) -> NDArray[np.int64]:
    """Return how many tokens with characters want a label (row) and are likeliest of one (column); 0 is none."""
    names = (NO_LABEL, *labels)
    wanted: list[str] = []
    found: list[str] = []
    for each in subject.judged:
        real_T = np.array([end > start for start, end in each.row.offsets])
        wanted += [names[(tag + 1) // 2] for tag in wanted_tags(labels, each)[real_T]]
        found += [names[(tag + 1) // 2] for tag in each.output.argmax(axis=1)[real_T]]
    return confusion(names, wanted, found)


def _frequent(met: list[tuple[Judged, Met]]) -> list[Html]:
    """Return the mistakes that were made most, each with two of their pieces."""
    title = element("h3", "Most frequent mistakes")
    groups: dict[tuple[str, str, str], list[tuple[Judged, Met]]] = {}
    for judged, one in met:
        if one.fate != "right":
            wanted, found = (span.label if span else "–" for span in (one.wanted, one.found))
            groups.setdefault((one.fate, wanted, found), []).append((judged, one))
    if not groups:
        return [title, note("There is no mistake.")]
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))[:_MOST_SHOWN]
    rows = [
        (
            f"{len(cases)}",
            fate,
            wanted,
            found,
            element("div", *(element("div", *_shown(judged, one)) for judged, one in cases[:2])),
        )
        for (fate, wanted, found), cases in ordered
    ]
    columns = ("how often", "mistake", "wanted", "answered", "for example: wanted in green, answered in red")
    return [title, table(columns, rows, numbers=(0,))]


def _shown(judged: Judged, one: Met) -> list[str]:
    """Return a piece with some of the text around it; what is wanted and what is answered, once if they are equal."""
    text = judged.example.text
    ends = dict.fromkeys((span.start, span.end) for span in (one.wanted, one.found) if span)
    start, end = min(first for first, _ in ends), max(last for _, last in ends)
    colours = ("good", "bad") if one.wanted else ("bad",)
    pieces = [
        element("span", f"[{text[first:last]}]", class_=colour)
        for (first, last), colour in zip(ends, colours, strict=False)
    ]
    before = ("…" if start > _AROUND else "") + text[max(0, start - _AROUND) : start]
    return [before, *pieces, text[end : end + _AROUND] + ("…" if end + _AROUND < len(text) else "")]


def _spans(judged: Judged) -> tuple[tuple[Span, ...], tuple[Span, ...]]:
    return cast("tuple[Span, ...]", judged.example.target), cast("tuple[Span, ...]", judged.answer)
