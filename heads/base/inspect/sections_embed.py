"""What a report says of vectors: who is taken for whom, how often the like is found, and how cosines are spread."""

from collections import Counter
from collections.abc import Sequence
from typing import cast

import numpy as np

from heads.base.inspect import figures
from heads.base.inspect.collect import Judged, Subject
from heads.base.inspect.examples import example_input
from heads.base.inspect.kind_figures import cosine_histogram
from heads.base.inspect.neighbours import Neighbours, find_neighbours, pair_cosines
from heads.base.inspect.page import Html, element, table
from heads.base.inspect.sections_about import drawn, note
from heads.base.inspect.statistics import bootstrap, confusion, shown_interval, wilson

__all__ = ["found_by_label", "found_by_slice", "nearest"]

_RECALL_AT = (1, 5, 10)
_MOST_PAIRS = 12
_MOST_LABELS_DRAWN = 60


def nearest(subject: Subject) -> list[Html]:
    """Return which label's neighbour is taken for which, the spread of cosines, and the pairs confused most."""
    names = _names(subject.judged)
    labels = sorted(set(names))
    shown = []
    if len(labels) <= _MOST_LABELS_DRAWN:
        asked = [place for place, is_asked in enumerate(_neighbours(subject).asked) if is_asked]
        counts_CC = confusion(
            labels, [names[place] for place in asked], [cast("str", subject.judged[place].answer) for place in asked]
        )
        caption = (
            "A row is the label of an example, a column that of its nearest neighbour: off the diagonal somebody who "
            "looks for their like finds something else first."
        )
        shown.append(drawn(figures.confusion_matrix(counts_CC, labels, column="nearest"), "confusion", caption))
    within_P, between_P = pair_cosines(names, np.stack([each.output for each in subject.judged]))
    shown.append(
        drawn(
            cosine_histogram(within_P, between_P),
            "cosines",
            f"Cosines of the {len(within_P):,} pairs of one label and of the {len(between_P):,} pairs of two, each "
            "spread over an area of 1; dashed are the medians. Where the two overlap, no threshold tells them apart.",
        )
    )
    return [element("div", *shown, class_="figures"), *_pairs(subject)]


def found_by_label(subject: Subject) -> list[Html]:
    """Return, for each label, how often its examples find their like first."""
    names, found = _names(subject.judged), _neighbours(subject)
    rows = []
    for label in sorted(set(names)):
        places = [place for place, name in enumerate(names) if name == label]
        wrong = Counter(str(subject.judged[place].answer) for place in places if not subject.judged[place].is_right)
        cells = [cell for k in _RECALL_AT[:2] for cell in _recall(found, k, places)]
        most = ", ".join(f"{name} ({count})" for name, count in wrong.most_common(2)) or "–"
        rows.append((label, f"{len(places)}", *cells, most))
    columns = ("label", "examples", "recall@1", "95 %", "recall@5", "95 %", "most often taken for")
    read = element(
        "p",
        "Recall@k is the share of examples with one of their own label among their k nearest neighbours in this split: "
        "with more examples in the split it is harder. Intervals are Wilson's, as if examples were independent.",
    )
    return [read, table(columns, rows, numbers=range(1, 6))]


def found_by_slice(subject: Subject) -> list[Html]:
    """Return recall at 1, 5 and 10 and the mean average precision of each slice, looked for among all examples."""
    found = _neighbours(subject)
    members: dict[str, list[int]] = {"all": list(range(len(subject.judged)))}
    for place, each in enumerate(subject.judged):
        for name in each.example.slices:
            members.setdefault(name, []).append(place)
    rows = [
        (
            name,
            f"{len(places)}",
            *(cell for k in _RECALL_AT for cell in _recall(found, k, places)),
            *_precision(found, places),
        )
        for name, places in [("all", members.pop("all")), *sorted(members.items())]
    ]
    recalls = [title for k in _RECALL_AT for title in (f"recall@{k}", "95 %")]
    columns = ("slice", "examples", *recalls, "MAP", "95 %")
    read = element(
        "p",
        "Each example of a slice is looked for among all examples of the split. Where two intervals overlap widely, "
        "the difference between two slices may be chance. Intervals of recall are Wilson's; that of MAP, the mean "
        "average precision, is percentiles of a bootstrap over the examples that are asked for.",
    )
    return [read, table(columns, rows, numbers=range(1, len(columns)))]


def _pairs(subject: Subject) -> list[Html]:
    pairs, found = _neighbours(subject).confused_pairs(_MOST_PAIRS), _neighbours(subject)
    title = element("h3", "Nearest pairs of two labels")
    if not pairs:
        return [title, note("All examples have one label.")]
    rows = [
        (
            f"{cosine:.3f}",
            *_told(subject.judged[row], subject),
            *_told(subject.judged[other], subject),
            f"{found.alike_cosines[row]:.3f}" if found.asked[row] else "–",
        )
        for row, other, cosine in pairs
    ]
    columns = ("cosine", "label", "example", "label", "its nearest of another label", "nearest of its own")
    read = element(
        "p",
        "The most alike of what should be apart. On the right is the cosine of the first example with the nearest of "
        "its own label: where that is smaller, it finds the wrong one first. A pair that people would not tell apart "
        "either has a wrong label, or two labels that mean one thing.",
    )
    return [title, read, table(columns, rows, numbers=(0, 5))]


def _told(judged: Judged, subject: Subject) -> tuple[str, Html]:
    name = element("span", judged.example.id, class_="digest")
    return str(judged.example.target), element("div", example_input(judged, subject), name)


def _recall(found: Neighbours, k: int, places: Sequence[int]) -> tuple[str, str]:
    hits, asked = found.found(k, places)
    return (f"{hits / asked:.3f}", shown_interval(wilson(hits, asked), 3)) if asked else ("–", "–")


def _precision(found: Neighbours, places: Sequence[int]) -> tuple[str, str]:
    each_Q = found.precisions[np.asarray(places, np.int64)]
    each_Q = each_Q[~np.isnan(each_Q)]
    if not len(each_Q):
        return "–", "–"
    interval = bootstrap(lambda chosen: float(each_Q[chosen].mean()), len(each_Q), resamples=500)
    return f"{each_Q.mean():.3f}", shown_interval(interval, 3)


def _neighbours(subject: Subject) -> Neighbours:
    return find_neighbours(_names(subject.judged), np.stack([each.output for each in subject.judged]))


def _names(judged: Sequence[Judged]) -> list[str]:
    return [cast("str", each.example.target) for each in judged]
