"""Labels and answers, brought to one form: what a network learns, and what a metric compares."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.base.declaration import Classify, Embed, Multilabel, Regress, Segment, Task
from zoo.answers import Classification, Embedding, Regression, Segmentation, Tagging, decode
from zoo.answers import Multilabel as MultilabelResult
from zoo.digest import digest_bytes
from zoo.labels import Span, Target
from zoo.manifest import (
    Answer,
    ClassifyAnswer,
    EmbedAnswer,
    MultilabelAnswer,
    RegressAnswer,
    SegmentAnswer,
    TagAnswer,
)
from zoo.masks import Mask
from zoo.preprocessing import Row

__all__ = ["Comparable", "answer_of", "best_thresholds", "encode_target", "found_target", "tag_tokens"]


_SAME_VALUE = 0.005
"""Two values are the same answer if they differ by no more; a person reads two decimals."""

_SAME_DIRECTION = 1 - 1e-4
"""The cosine from which on two vectors are the same answer."""

_SAME_PIXELS = 0.999
"""The share of equal pixels from which on two masks are the same answer: at edges, two labels are as likely."""


@dataclass(frozen=True, slots=True, eq=False)
class Comparable:
    """An answer that equals others which say the same, whatever the last bits of its numbers.

    >>> Comparable(0.501) == Comparable(0.4993), Comparable((1.0, 0.0)) == Comparable((0.0, 1.0))
    (True, False)
    """

    target: Target

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Comparable) and _is_same(self.target, other.target)

    __hash__ = None  # type: ignore[assignment] # what is nearly equal has no hash


def _is_same(one: Target, other: Target) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= _SAME_VALUE
    if isinstance(one, Mask) and isinstance(other, Mask):
        same_size = (one.height, one.width) == (other.height, other.width)
        return same_size and float((one.array == other.array).mean()) >= _SAME_PIXELS
    if _is_vector(one) and _is_vector(other):
        return float(np.dot(one, other)) >= _SAME_DIRECTION  # type: ignore[arg-type]
    return one == other


def _is_vector(target: Target) -> bool:
    return isinstance(target, tuple) and len(target) > 0 and isinstance(target[0], float)


def answer_of(task: Task, thresholds: Sequence[float] = ()) -> Answer:
    """Return the manifest's form of a task.

    Args:
        task: what kind of answer.
        thresholds: of a multilabel task, one a label; 0.5 each if none are given.
    """
    if isinstance(task, Classify):
        return ClassifyAnswer(labels=task.labels)
    if isinstance(task, Multilabel):
        return MultilabelAnswer(labels=task.labels, thresholds=tuple(thresholds) or (0.5,) * len(task.labels))
    if isinstance(task, Regress):
        return RegressAnswer(low=task.low, high=task.high)
    if isinstance(task, Embed):
        return EmbedAnswer(dim=task.dim)
    if isinstance(task, Segment):
        return SegmentAnswer(labels=task.labels)
    return TagAnswer(labels=task.labels)


def encode_target(task: Task, target: Target, row: Row) -> Tensor:
    """Return what a network learns for one row.

    Returns:
        A class, a 0/1 vector (C,), a value (1,), a tag per token (T,), a number that only equal labels share, or the
        place of a label per pixel (H, W) uint8.
    """
    if isinstance(task, Classify):
        return torch.tensor(task.labels.index(cast("str", target)))
    if isinstance(task, Multilabel):
        wanted = cast("tuple[str, ...]", target)
        return torch.tensor([float(label in wanted) for label in task.labels])
    if isinstance(task, Regress):
        return torch.tensor([cast("float", target)])
    if isinstance(task, Embed):
        return torch.tensor(_number_of(cast("str", target)))
    if isinstance(task, Segment):
        assert isinstance(target, Mask), "a mask is read before it is learned from"
        return torch.from_numpy(target.array.copy())
    return torch.tensor(tag_tokens(task.labels, cast("tuple[Span, ...]", target), row.offsets))


def _number_of(label: str) -> int:
    """Return a number of 60 bits that stands for a label: labels of embeddings are declared nowhere."""
    return int(digest_bytes(label.encode())[:15], 16)


def tag_tokens(labels: Sequence[str], spans: Sequence[Span], offsets: Sequence[tuple[int, int]]) -> list[int]:
    """Return the BIO tag of each token: ``B`` on the first token that touches a span, ``I`` on the others.

    >>> tag_tokens(("name",), [Span(3, 9, "name")], [(0, 0), (0, 2), (3, 6), (6, 9), (0, 0)])
    [0, 0, 1, 2, 0]
    """
    tags = [0] * len(offsets)
    for span in spans:
        touched = [index for index, (start, end) in enumerate(offsets) if start < span.end and end > span.start]
        for position, index in enumerate(touched):
            tags[index] = 1 + 2 * labels.index(span.label) + (position > 0)
    return tags


def found_target(answer: Answer, outputs: Mapping[str, NDArray[Any]], row: Row) -> Target:
    """Return the answer for one row in the form of a label, decoded exactly as a server decodes it.

    Args:
        answer: how outputs become an answer.
        outputs: the outputs of this row, without the N axis, trimmed to its length.
        row: the input.
    """
    decoded = decode(answer, outputs, row)
    if isinstance(decoded, Classification):
        return decoded.label
    if isinstance(decoded, MultilabelResult):
        return tuple(decoded.labels)
    if isinstance(decoded, Regression):
        return float(decoded.value)
    if isinstance(decoded, Embedding):
        return decoded.vector
    if isinstance(decoded, Segmentation):
        return decoded.mask
    assert isinstance(decoded, Tagging)
    return tuple(Span(span.start, span.end, span.label) for span in decoded.spans)


def best_thresholds(scores_NC: NDArray[np.float32], wanted_NC: NDArray[np.bool_]) -> tuple[float, ...]:
    """Return, per label, the threshold with the best F1; of equally good ones, that closest to 0.5.

    Only for the valid split: thresholds are fitted, and would make a test score a lie.

    Args:
        scores_NC: probabilities.
        wanted_NC: whether the label applies.

    >>> best_thresholds(np.array([[0.1], [0.3], [0.4]], np.float32), np.array([[False], [True], [True]]))
    (0.2,)
    """
    return tuple(_best_threshold(scores_NC[:, c], wanted_NC[:, c]) for c in range(scores_NC.shape[1]))


def _best_threshold(scores_N: NDArray[np.float32], wanted_N: NDArray[np.bool_]) -> float:
    ordered = np.unique(scores_N)
    middle = (ordered[:-1] + ordered[1:]) / 2
    # Between two neighbours of a number format there is nothing: there, the upper one decides.
    candidates = [0.5, *np.where(middle > ordered[:-1], middle, ordered[1:]).tolist()]

    def f1_of(threshold: float) -> float:
        found_N = scores_N >= np.float32(threshold)  # as a server decides
        total = int(found_N.sum() + wanted_N.sum())
        return 2 * int((found_N & wanted_N).sum()) / total if total else 0.0

    best = float(max(candidates, key=lambda threshold: (f1_of(threshold), -abs(threshold - 0.5))))
    shorter = round(best, 6)  # of scores near 0 or 1 it may be on the other side
    return shorter if f1_of(shorter) == f1_of(best) else best
