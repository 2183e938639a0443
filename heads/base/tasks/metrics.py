"""How good answers are: pure functions over what was expected and what was found."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from heads.base.declaration import Task
from heads.base.tasks.retrieval import find_alike
from zoo.labels import Example, Span, Target
from zoo.manifest import LOWER_IS_BETTER, Metrics, SliceMetrics
from zoo.masks import UNLABELLED, Mask

__all__ = [
    "Counts",
    "count_matches",
    "count_pixels",
    "f1",
    "iou",
    "measure",
    "measure_slices",
    "pixel_metrics",
    "r2",
    "ranks",
    "set_metrics",
    "spearman",
    "watched_score",
]


@dataclass(frozen=True, slots=True)
class Counts:
    """True positives, false positives and false negatives."""

    hits: int = 0
    extra: int = 0
    missed: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.hits + other.hits, self.extra + other.extra, self.missed + other.missed)


def precision(counts: Counts) -> float:
    """Return the share of what was found that is right; 1 if nothing was found.

    >>> precision(Counts(hits=3, extra=1))
    0.75
    """
    found = counts.hits + counts.extra
    return counts.hits / found if found else 1.0


def recall(counts: Counts) -> float:
    """Return the share of what was expected that was found; 1 if nothing was expected.

    >>> recall(Counts(hits=3, missed=3))
    0.5
    """
    expected = counts.hits + counts.missed
    return counts.hits / expected if expected else 1.0


def f1(counts: Counts) -> float:
    """Return the harmonic mean of precision and recall, 2 TP / (2 TP + FP + FN) (van Rijsbergen 1979); 1 if empty.

    >>> f1(Counts(hits=1, extra=1, missed=1))
    0.5
    """
    total = 2 * counts.hits + counts.extra + counts.missed
    return 2 * counts.hits / total if total else 1.0


def iou(counts: Counts) -> float:
    """Return intersection over union, TP / (TP + FP + FN) (Jaccard 1912); 1 if empty.

    >>> iou(Counts(hits=1, extra=1, missed=1))
    0.3333333333333333
    """
    total = counts.hits + counts.extra + counts.missed
    return counts.hits / total if total else 1.0


def count_matches(
    expected: Sequence[AbstractSet[Any]], found: Sequence[AbstractSet[Any]], label_of: Callable[[Any], str] = str
) -> dict[str, Counts]:
    """Count hits, extras and misses per label.

    Args:
        expected: per row, the items wanted.
        found: per row, the items answered; an item counts when it is exactly one that was wanted.
        label_of: the label of an item.

    Returns:
        Counts of each label that was wanted or answered anywhere.

    >>> count_matches([{"a"}, {"a", "b"}], [{"a"}, {"b"}])
    {'a': Counts(hits=1, extra=0, missed=1), 'b': Counts(hits=1, extra=0, missed=0)}
    """
    hits, extra, missed = Counter[str](), Counter[str](), Counter[str]()
    for wanted, answered in zip(expected, found, strict=True):
        hits.update(label_of(item) for item in wanted & answered)
        extra.update(label_of(item) for item in answered - wanted)
        missed.update(label_of(item) for item in wanted - answered)
    return {name: Counts(hits[name], extra[name], missed[name]) for name in sorted({*hits, *extra, *missed})}


def set_metrics(
    expected: Sequence[AbstractSet[Any]], found: Sequence[AbstractSet[Any]], label_of: Callable[[Any], str] = str
) -> dict[str, float]:
    """Return every metric over sets of items: exact match, micro and macro averages, and each label's F1.

    Macro F1 is the mean of the labels' F1 (Sokolova & Lapalme 2009), over the labels that were wanted or
    answered at all: a slice without a label isn't judged by it.

    >>> scores = set_metrics([{"a"}, {"b"}], [{"a"}, {"a"}])
    >>> scores["exact_match"], scores["macro_f1"], scores["f1.b"]
    (0.5, 0.3333333333333333, 0.0)
    """
    by_label = count_matches(expected, found, label_of)
    total = sum(by_label.values(), Counts())
    each = {f"f1.{name}": f1(counts) for name, counts in by_label.items()}
    return {
        "exact_match": float(np.mean([wanted == answered for wanted, answered in zip(expected, found, strict=True)])),
        "precision": precision(total),
        "recall": recall(total),
        "micro_f1": f1(total),
        "macro_f1": float(np.mean(list(each.values()))) if each else 1.0,
        **each,
    }


def count_pixels(labels: Sequence[str], expected: Sequence[Mask], found: Sequence[Mask]) -> dict[str, Counts]:
    """Count hits, extras and misses per label, over the pixels that have a label.

    Args:
        labels: in the order that masks count them in.
        expected: the mask wanted of each image.
        found: the mask answered, of the same size.

    Returns:
        Counts of each label that was wanted or answered anywhere, in order.

    >>> wanted, answered = Mask(height=1, width=3, pixels=bytes([0, 1, 255])), Mask(height=1, width=3, pixels=bytes(3))
    >>> count_pixels(("ground", "glyph"), [wanted], [answered])
    {'ground': Counts(hits=1, extra=1, missed=0), 'glyph': Counts(hits=0, extra=0, missed=1)}
    """
    size = len(labels)
    pairs_CC = np.zeros((size, size), np.int64)
    for wanted, answered in zip(expected, found, strict=True):
        known_HW = wanted.array != UNLABELLED
        pairs = wanted.array[known_HW].astype(np.int64) * size + answered.array[known_HW]
        pairs_CC += np.bincount(pairs, minlength=size * size).reshape(size, size)
    hits, wanted_C, answered_C = np.diag(pairs_CC), pairs_CC.sum(axis=1), pairs_CC.sum(axis=0)
    counts = (
        Counts(int(hit), int(a - hit), int(w - hit)) for hit, a, w in zip(hits, answered_C, wanted_C, strict=True)
    )
    return {label: each for label, each in zip(labels, counts, strict=True) if each != Counts()}


def pixel_metrics(labels: Sequence[str], expected: Sequence[Mask], found: Sequence[Mask]) -> dict[str, float]:
    """Return every metric over pixels: mean IoU, macro F1 (the mean dice coefficient), accuracy, and each label's F1.

    Pixels of all images count together, and means are over the labels that were wanted or answered at all.

    Args:
        labels: in the order that masks count them in.
        expected: the mask wanted of each image.
        found: the mask answered, of the same size.
    """
    by_label = count_pixels(labels, expected, found)
    if not by_label:
        return {}
    total = sum(by_label.values(), Counts())
    each = {f"f1.{name}": f1(counts) for name, counts in by_label.items()}
    return {
        "mean_iou": float(np.mean([iou(counts) for counts in by_label.values()])),
        "macro_f1": float(np.mean(list(each.values()))),
        "accuracy": recall(total),
        **each,
    }


def mae(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the mean absolute error.

    >>> mae(np.array([1.0, 2.0]), np.array([2.0, 2.0]))
    0.5
    """
    return float(np.abs(expected - found).mean())


def r2(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return the coefficient of determination, 1 - SS_res / SS_tot; NaN if ``expected`` is constant.

    >>> r2(np.array([1.0, 3.0]), np.array([1.0, 3.0]))
    1.0
    """
    # The mean of equal values may be rounded: squares around it would then be tiny, and not 0.
    total = 0.0 if (expected == expected[:1]).all() else float(((expected - expected.mean()) ** 2).sum())
    return 1 - float(((expected - found) ** 2).sum()) / total if total else float("nan")


def ranks(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the rank of each value from 1 on; equal values share the mean of their ranks.

    >>> ranks(np.array([10.0, 30.0, 10.0])).tolist()
    [1.5, 3.0, 1.5]
    """
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right")
    return (first + last + 1) / 2


def spearman(expected: NDArray[np.float64], found: NDArray[np.float64]) -> float:
    """Return Spearman's rank correlation: Pearson's of the ranks (Spearman 1904); NaN if either is constant.

    >>> round(spearman(np.array([1.0, 2.0, 3.0]), np.array([1.0, 4.0, 9.0])), 6)
    1.0
    """
    a, b = ranks(expected), ranks(found)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / scale if scale else float("nan")


def measure(
    task: Task, expected: Sequence[Target], found: Sequence[Target], rows: Sequence[int] | None = None
) -> dict[str, float]:
    """Return the task's metrics, and each label's F1; what is not defined on these rows is left out.

    Args:
        task: what kind of answer.
        expected: the target of each row.
        found: the answer of each row, as a target.
        rows: places of those that are measured, all if None. Vectors look for their like among the others too.
    """
    if task.kind == "embed":
        return find_alike(cast("Sequence[str]", expected), np.array(found, dtype=np.float64), rows)
    if rows is not None:
        expected, found = [expected[row] for row in rows], [found[row] for row in rows]
    if task.kind == "segment":
        values = pixel_metrics(task.labels, cast("Sequence[Mask]", expected), cast("Sequence[Mask]", found))
    elif task.kind == "regress":
        a, b = np.array(expected, dtype=np.float64), np.array(found, dtype=np.float64)
        values = {"mae": mae(a, b), "spearman": spearman(a, b), "r2": r2(a, b)}
    else:
        values = set_metrics([_items(t) for t in expected], [_items(t) for t in found], _label_of)
        values |= {"accuracy": values["exact_match"], "f1": values["micro_f1"]}
    kept = (*task.metrics, *(f"f1.{label}" for label in task.labels))
    return {name: values[name] for name in kept if name in values and not np.isnan(values[name])}


def measure_slices(task: Task, examples: Sequence[Example], found: Sequence[Target]) -> Metrics:
    """Return metrics over all examples and over each slice, with how many examples each has.

    Args:
        task: what kind of answer.
        examples: the examples, with their targets and slices.
        found: the answer to each.
    """
    members: Mapping[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        for name in example.slices:
            members[name].append(index)

    expected = [example.target for example in examples]

    def over(rows: Sequence[int]) -> SliceMetrics:
        return SliceMetrics(examples=len(rows), values=measure(task, expected, found, rows))

    return Metrics(overall=over(range(len(examples))), slices={name: over(members[name]) for name in sorted(members)})


def watched_score(task: Task, values: Mapping[str, float]) -> float:
    """Return the task's first metric turned so that more is better: what early stopping watches."""
    name = task.metrics[0]
    value = values.get(name, float("-inf"))
    return -value if name in LOWER_IS_BETTER else value


def _items(target: Target) -> AbstractSet[Any]:
    return frozenset([target]) if isinstance(target, str) else frozenset(target)  # type: ignore[arg-type]


def _label_of(item: str | Span) -> str:
    return item.label if isinstance(item, Span) else item
