"""Outputs to answers: what the tensors of a head mean, as frozen values.

``decode`` reads one row's outputs as the manifest's ``answer`` says. Gates, parity and the server all call it,
so that what a head was tested on is what its callers get.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from zoo.errors import InvalidInput, InvalidOutput
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
from zoo.preprocessing.row import Row

__all__ = [
    "Classification",
    "Decoded",
    "Embedding",
    "Multilabel",
    "Regression",
    "Segmentation",
    "Span",
    "Tagging",
    "decode",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One class of several: the likeliest, and the probability of each by label, in the declared order.

    ``uncertainty`` is the chance that the label is wrong, 0 to 1; None from a head that does not say.
    """

    label: str
    scores: Mapping[str, float]
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Multilabel:
    """The labels that reach their thresholds, and the probability of each, both in the declared order.

    ``uncertainty`` is the chance that the least sure label is wrong, 0 to 1; None from a head that does not say.
    """

    labels: tuple[str, ...]
    scores: Mapping[str, float]
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A value, and the bounds that it lies between.

    ``uncertainty`` is its standard deviation, in its own unit; None from a head that does not say.
    """

    value: float
    low: float
    high: float
    uncertainty: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A labelled piece of a text: ``text`` is the source from ``start`` to ``end`` (exclusive) in code points.

    ``score`` is the mean probability of its tokens' tags.
    """

    label: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """The labelled pieces of a text, in order, none overlapping."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The place of an input among others: a vector of length 1, near to those of what is alike."""

    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """A label for each pixel, and which share of the pixels each label has, in the order that the mask counts in."""

    mask: Mask
    shares: Mapping[str, float]


Decoded = Classification | Multilabel | Regression | Tagging | Embedding | Segmentation
"""A typed answer."""


def decode(answer: Answer, outputs: Mapping[str, NDArray[Any]], row: Row) -> Decoded:
    """Turn the outputs of one row into its answer.

    Args:
        answer: how to read them, from the manifest.
        outputs: by name, without the N axis, and with T cut to ``row.length``: (C,), (1,), (T, K), (D,) or (C, H, W)
            float32.
        row: the input that they belong to.

    Raises:
        InvalidOutput: they hold a NaN or an infinity.
        InvalidInput: the answer points into the text, and the input had none.
    """
    values = _finite(outputs, answer.output)
    match answer:
        case ClassifyAnswer():
            return _classification(answer, values, _uncertainty(answer, outputs))
        case MultilabelAnswer():
            return _multilabel(answer, values, _uncertainty(answer, outputs))
        case RegressAnswer():
            unsure = _uncertainty(answer, outputs)
            return Regression(value=values.item(), low=answer.low, high=answer.high, uncertainty=unsure)
        case TagAnswer():
            return _tagging(answer, values, row)
        case EmbedAnswer():
            return Embedding(vector=tuple(values.tolist()))
        case SegmentAnswer():
            return _segmentation(answer, values)


def _finite(outputs: Mapping[str, NDArray[Any]], name: str) -> NDArray[Any]:
    values = outputs[name]
    if np.count_nonzero(np.isfinite(values)) < values.size:  # a third of the time of `all` on a few numbers
        raise InvalidOutput(
            f"Output {name!r} holds a NaN or an infinity, so there is no answer. The input is outside of what "
            "the model can compute; `zoo verify` tells whether its stored bytes are whole."
        )
    return values


def _uncertainty(
    answer: ClassifyAnswer | MultilabelAnswer | RegressAnswer, outputs: Mapping[str, NDArray[Any]]
) -> float | None:
    return None if answer.uncertainty is None else float(_finite(outputs, answer.uncertainty).item())


def _scores(labels: tuple[str, ...], scores_C: NDArray[Any]) -> dict[str, float]:
    return dict(zip(labels, scores_C.tolist(), strict=True))


def _classification(answer: ClassifyAnswer, scores_C: NDArray[Any], uncertainty: float | None) -> Classification:
    label = answer.labels[int(scores_C.argmax())]
    return Classification(label=label, scores=_scores(answer.labels, scores_C), uncertainty=uncertainty)


def _multilabel(answer: MultilabelAnswer, scores_C: NDArray[Any], uncertainty: float | None) -> Multilabel:
    # In the scores' own precision: a threshold that was chosen to equal a score must still let it in.
    reached_C = scores_C >= np.asarray(answer.thresholds, scores_C.dtype)
    labels = tuple(label for label, reached in zip(answer.labels, reached_C, strict=True) if reached)
    return Multilabel(labels=labels, scores=_scores(answer.labels, scores_C), uncertainty=uncertainty)


def _segmentation(answer: SegmentAnswer, scores_CHW: NDArray[Any]) -> Segmentation:
    mask = Mask.of(scores_CHW.argmax(axis=0).astype(np.uint8))
    return Segmentation(mask=mask, shares=mask.shares(answer.labels))


def _tagging(answer: TagAnswer, scores_TK: NDArray[Any], row: Row) -> Tagging:
    if not row.offsets:
        raise InvalidInput(
            "This head labels pieces of a text, and the input was ready tensors, which do not say where their tokens "
            "stand in it. Send the text itself, or ask for the raw outputs through the inference protocol."
        )
    assert scores_TK.shape == (row.length, 1 + 2 * len(answer.labels)), scores_TK.shape
    words, scores_WK = _join_words(row.offsets, row.text, scores_TK)
    pieces = (_span(piece, row.text) for piece in _pieces(answer.labels, scores_WK, words))
    return Tagging(spans=tuple(span for span in pieces if span.text))


def _join_words(
    offsets: tuple[tuple[int, int], ...], text: str, scores_TK: NDArray[Any]
) -> tuple[tuple[tuple[int, int], ...], NDArray[Any]]:
    """Join the tokens of one word, so that it is labelled as a whole.

    Tokenizers cut rare words to pieces, names above all, and a head that is unsure of one piece would end a span in
    the middle of a word. A joined word has the mean probability of each label over its tokens; it begins a span if
    its first token would rather begin one.
    """
    words: list[tuple[int, int]] = []
    groups: list[list[int]] = []
    for token, (start, end) in enumerate(offsets):
        if groups and words[-1][0] < words[-1][1] == start < end and _is_inside_word(text, start):
            words[-1] = (words[-1][0], end)
            groups[-1].append(token)
        else:
            words.append((start, end))
            groups.append([token])
    return tuple(words), np.stack([_joined(scores_TK[group]) for group in groups])


def _is_inside_word(text: str, position: int) -> bool:
    """Tell whether one word goes on across ``position``: letters or digits on both sides, in a script that has spaces.

    Chinese or Thai have no spaces, and Arabic or Korean write particles onto names: there, tokens stay apart.

    >>> _is_inside_word("Łódź, 東京", 1), _is_inside_word("Łódź, 東京", 4), _is_inside_word("Łódź, 東京", 7)
    (True, False, False)
    """
    around = text[position - 1 : position + 1]
    return around.isalnum() and all(sign < "\u0590" or "\u1e00" <= sign < "\u2000" for sign in around)


def _joined(scores_TK: NDArray[Any]) -> NDArray[Any]:
    if len(scores_TK) == 1:
        return np.asarray(scores_TK[0])
    begins_L = scores_TK[0, 1::2] >= scores_TK[0, 2::2]
    label_L = (scores_TK[:, 1::2] + scores_TK[:, 2::2]).mean(0)
    joined_K: NDArray[Any] = np.empty(scores_TK.shape[1], scores_TK.dtype)
    joined_K[0] = scores_TK[:, 0].mean()
    joined_K[1::2] = np.where(begins_L, label_L, 0)
    joined_K[2::2] = np.where(begins_L, 0, label_L)
    return joined_K


@dataclass(slots=True)
class _Piece:
    """A span that is still growing."""

    label: str
    start: int
    end: int
    scores: list[float]


def _pieces(labels: tuple[str, ...], scores_TK: NDArray[Any], offsets: tuple[tuple[int, int], ...]) -> Iterator[_Piece]:
    """Decode BIO tags, leniently: an inside tag with no span to continue begins one.

    A token continues the span before it if its tag is the inside of the same label, or if it has the same label and
    touches it: word pieces of one word are one span even where a tag says that a new one begins. Tokens without
    characters (special tokens) are passed over, and a token that lies in a span already (several tokens can stand
    for one character) begins none.
    """
    piece: _Piece | None = None
    for (start, end), tag, score in zip(offsets, scores_TK.argmax(1).tolist(), scores_TK.max(1).tolist(), strict=True):
        if start == end:
            continue
        label = labels[(tag - 1) // 2] if tag else ""
        begins = tag % 2 == 1
        if piece and label == piece.label and (not begins or start <= piece.end):
            piece.end = max(piece.end, end)
            piece.scores.append(score)
        elif piece and start < piece.end:
            continue
        else:
            if piece:
                yield piece
            piece = _Piece(label, start, end, [score]) if label else None
    if piece:
        yield piece


def _span(piece: _Piece, text: str) -> Span:
    """Freeze a piece, without the white space that some tokenizers count into their tokens.

    >>> _span(_Piece("city", 3, 9, [0.5, 1.0]), "in  Rome.")
    Span(label='city', start=4, end=9, text='Rome.', score=0.75)
    """
    found = text[piece.start : piece.end]
    start = piece.start + len(found) - len(found.lstrip())
    inner = found.strip()
    score = sum(piece.scores) / len(piece.scores)
    return Span(label=piece.label, start=start, end=start + len(inner), text=inner, score=score)
