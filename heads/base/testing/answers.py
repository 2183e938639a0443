"""Answers side by side: whether two say the same, what a label's score is, and how a person reads one."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np

from zoo.answers import Classification, Decoded, Embedding, Multilabel, Regression, Segmentation, Tagging
from zoo.suggest import did_you_mean

__all__ = ["Expected", "agree", "fits", "read", "score_of"]

Expected = str | Collection[str] | tuple[float, float] | Mapping[str, str] | Callable[[Decoded], bool]
"""What an answer should be: a label; labels; a lowest and a highest value; pieces of text with their labels; or a
function that looks at the answer."""


def agree(one: Decoded, other: Decoded, *, within: float = 0.0) -> bool:
    """Tell whether two answers say the same.

    Labels must be equal; of spans, their labels in order, since a changed text moves them. Values may differ by
    ``within``, vectors by so much in cosine, masks in that share of the pixels.

    Args:
        one: an answer.
        other: another of the same head.
        within: how much may differ, where there is a number to differ.

    >>> def answer(value):
    ...     return Regression(value=value, low=0, high=10)
    >>> agree(answer(3.0), answer(3.5)), agree(answer(3.0), answer(3.5), within=1.0)
    (False, True)
    """
    return _difference(one, other) <= within


def _difference(one: Decoded, other: Decoded) -> float:
    """Return how far two answers are from each other; 0 where they say the same."""
    match one, other:
        case Regression(), Regression():
            return abs(one.value - other.value)
        case Embedding(), Embedding():
            return 1 - float(np.dot(one.vector, other.vector))
        case Segmentation(), Segmentation():
            if one.mask.array.shape != other.mask.array.shape:
                return math.inf
            return float(np.mean(one.mask.array != other.mask.array))
    return 0.0 if _labels(one) == _labels(other) else math.inf


def _labels(answer: Decoded) -> object:
    match answer:
        case Classification():
            return answer.label
        case Multilabel():
            return answer.labels
        case Tagging():
            return tuple(span.label for span in answer.spans)
    raise TypeError(f"a {type(answer).__name__} has no labels to compare")


def fits(answer: Decoded, expected: Expected) -> bool:
    """Tell whether an answer is as expected.

    Args:
        answer: of a head.
        expected: see ``Expected``; of a tagging head, exactly these pieces of text.

    Raises:
        TypeError: the expectation is not one for this kind of answer.

    >>> fits(Regression(value=3.0, low=0, high=10), (0, 4))
    True
    """
    if callable(expected):
        return expected(answer)
    match answer, expected:
        case Classification(), str():
            return answer.label == expected
        case Regression(), (int() | float() as low, int() | float() as high):
            return low <= answer.value <= high
        case Tagging(), Mapping():
            return {span.text: span.label for span in answer.spans} == dict(expected)
        case Multilabel(), Collection() if not isinstance(expected, str):
            return set(answer.labels) == set(expected)
    raise TypeError(
        f"{expected!r} cannot be compared with a {type(answer).__name__}. Expected a label for a Classification, a "
        "list of labels for a Multilabel, (lowest, highest) for a Regression, {piece: label} for a Tagging, or a "
        "function of the answer."
    )


def score_of(answer: Decoded, what: str) -> float:
    """Return the number that a direction is about: the score of a label, or ``"value"``.

    Args:
        answer: of a head.
        what: a label, of which a span has its best score and 0 without one; or ``"value"`` of a regression.

    Raises:
        ValueError: the answer has no such number.
    """
    known: Mapping[str, float] = {}
    match answer:
        case Classification() | Multilabel():
            known = answer.scores
        case Regression():
            known = {"value": answer.value}
        case Segmentation():
            known = answer.shares
        case Tagging():
            return max((span.score for span in answer.spans if span.label == what), default=0.0)
    if what not in known:
        raise ValueError(f"A {type(answer).__name__} of this head has no {what!r}.{did_you_mean(what, known)}")
    return known[what]


def read(answer: Decoded) -> str:
    """Return an answer as a person reads it.

    >>> read(Classification(label="refund", scores={"refund": 0.75, "billing": 0.25}))
    'refund 0.75'
    """
    match answer:
        case Classification():
            return f"{answer.label} {answer.scores[answer.label]:.2f}"
        case Multilabel():
            return ", ".join(f"{label} {answer.scores[label]:.2f}" for label in answer.labels) or "none"
        case Regression():
            return f"{answer.value:.2f}"
        case Tagging():
            return ", ".join(f"{span.label} {span.text!r}" for span in answer.spans) or "none"
        case Segmentation():
            return ", ".join(f"{label} {share:.0%}" for label, share in answer.shares.items())
        case Embedding():
            return f"({', '.join(f'{number:.2f}' for number in answer.vector[:4])}, …)"
    return _unknown(answer)


def _unknown(answer: Any) -> str:
    return str(answer)
