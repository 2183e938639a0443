"""Typed answers, and who gave them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from hydrazoo.client.png import grey_pixels
from numpy.typing import NDArray

__all__ = [
    "Answer",
    "Classification",
    "Embedding",
    "ModelVersion",
    "Multilabel",
    "Prediction",
    "Predictions",
    "Regression",
    "Segmentation",
    "Span",
    "Tagging",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Classification:
    """One class of several: the likeliest, and the probability of each by label, in the declared order."""

    label: str
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Multilabel:
    """The labels that apply, and the probability of each by label, both in the declared order."""

    labels: tuple[str, ...]
    scores: Mapping[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Regression:
    """A value, and the bounds that it lies between."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A labelled piece of the text, from ``start`` to ``end`` (exclusive) in code points: ``text[start:end]``.

    ``score`` is the mean probability of its tokens' tags.
    """

    label: str
    start: int
    end: int
    text: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Tagging:
    """The labelled pieces of the text, in order, none overlapping."""

    spans: tuple[Span, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedding:
    """The place of the input among others: a vector of length 1.

    The product of two vectors of one version is the cosine of the angle between them: near 1 for what is alike.
    """

    vector: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segmentation:
    """A label for each pixel of what the head sees of the image: its centre, after its shorter side was resized.

    Attributes:
        mask_png: a PNG file of 8-bit grey; a pixel's value is the place of its label in ``labels``.
        height: of the mask, in pixels.
        width: of the mask, in pixels.
        shares: of each label its pixels as a share of all, in the declared order.
    """

    mask_png: bytes
    height: int
    width: int
    shares: Mapping[str, float]

    @property
    def labels(self) -> tuple[str, ...]:
        """Every label, in the order that the mask counts them in."""
        return tuple(self.shares)

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The mask as (H, W) places in ``labels``, read from the PNG file at each access."""
        return grey_pixels(self.mask_png)


Answer = Classification | Multilabel | Regression | Tagging | Embedding | Segmentation
"""What a head answers with; which one, its task says."""

_Kind = TypeVar("_Kind", Classification, Multilabel, Regression, Tagging, Embedding, Segmentation)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelVersion:
    """The immutable version that gave an answer.

    Attributes:
        number: counted per head from 1.
        digest: of its manifest, 64 hexadecimal digits.
        alias: through which it was reached; empty if it was asked for by number.
        alias_epoch: how often that alias had moved when the server loaded it; 0 without an alias.
    """

    number: int
    digest: str
    alias: str
    alias_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One head's answer, and the version that gave it.

    What the answer holds can be read from here too; an ``AttributeError`` says so where it holds something else.

    Attributes:
        head: its name.
        version: what answered.
        answer: what it answered.
        uncertainty: how unsure the answer is: of labels the chance that it is wrong, 0 to 1; of a value its standard
            deviation, in its own unit; None from a head that does not say.
    """

    head: str
    version: ModelVersion
    answer: Answer
    uncertainty: float | None = None

    @property
    def label(self) -> str:
        """The likeliest class, of a ``Classification``."""
        return self._as(Classification, "label").label

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that apply, of a ``Multilabel``."""
        return self._as(Multilabel, "labels").labels

    @property
    def scores(self) -> Mapping[str, float]:
        """The probability of each label, of a ``Classification`` or ``Multilabel``."""
        if isinstance(self.answer, Multilabel):
            return self.answer.scores
        return self._as(Classification, "scores").scores

    @property
    def value(self) -> float:
        """The value, of a ``Regression``."""
        return self._as(Regression, "value").value

    @property
    def spans(self) -> tuple[Span, ...]:
        """The labelled pieces, of a ``Tagging``."""
        return self._as(Tagging, "spans").spans

    @property
    def vector(self) -> tuple[float, ...]:
        """The vector, of an ``Embedding``."""
        return self._as(Embedding, "vector").vector

    @property
    def mask(self) -> NDArray[np.uint8]:
        """The label of each pixel as (H, W) places in the labels, of a ``Segmentation``."""
        return self._as(Segmentation, "mask").mask

    @property
    def shares(self) -> Mapping[str, float]:
        """Each label's share of the pixels, of a ``Segmentation``."""
        return self._as(Segmentation, "shares").shares

    def _as(self, kind: type[_Kind], name: str) -> _Kind:
        if isinstance(self.answer, kind):
            return self.answer
        found = type(self.answer)
        has = ", ".join(found.__dataclass_fields__)
        raise AttributeError(f"Head {self.head!r} answered with a {found.__name__}, which has {has}, and no {name}")


class Predictions(Mapping[str, Prediction]):
    """The answers of one call, by head, in the order in which they were asked.

    A head that was asked for several of its versions is found by what was asked: ``answers["intent@7"]``. So is
    every other.

    Attributes:
        request_id: finds the request in the server's log.
        server_time_ms: from the arrival of the request at the server to its answer.
    """

    def __init__(
        self, asked: Sequence[str], predictions: Sequence[Prediction], *, request_id: str, server_time_ms: float
    ) -> None:
        heads = [prediction.head for prediction in predictions]
        self._by_asked = dict(zip(asked, predictions, strict=True))
        self._by_head = {
            one.head if heads.count(one.head) == 1 else reference: one for reference, one in self._by_asked.items()
        }
        self.request_id = request_id
        self.server_time_ms = server_time_ms

    def __getitem__(self, head: str) -> Prediction:
        found = self._by_head.get(head) or self._by_asked.get(head)
        if found is None:
            raise KeyError(f"{head!r} was not asked; there are answers of {', '.join(self._by_head)}")
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(self._by_head)

    def __len__(self) -> int:
        return len(self._by_head)

    def __repr__(self) -> str:
        answers = ", ".join(f"{head}={prediction.answer}" for head, prediction in self.items())
        return f"Predictions({answers}, request_id={self.request_id!r}, server_time_ms={self.server_time_ms})"
