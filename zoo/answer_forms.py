"""How the outputs of a path become a typed answer: a form for each kind of head, as a version's manifest holds it."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from zoo.masks import MOST_MASK_LABELS
from zoo.record import Record

__all__ = [
    "Answer",
    "ClassifyAnswer",
    "EmbedAnswer",
    "MultilabelAnswer",
    "RegressAnswer",
    "SegmentAnswer",
    "TagAnswer",
]


class MaybeUnsure(Record):
    """An answer of which ``uncertainty``, an output (N, 1) float32, may say how unsure it is; null if none does.

    For labels it is the chance that the answer is wrong, from 0 to 1; for a value its standard deviation, in its unit.
    """

    uncertainty: str | None = None

    @model_serializer(mode="wrap")
    def _without_none(self, encode: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``uncertainty`` out where there is none: manifests from before there was any keep their digest."""
        encoded: dict[str, Any] = encode(self)
        if encoded["uncertainty"] is None:
            del encoded["uncertainty"]
        return encoded


class ClassifyAnswer(MaybeUnsure):
    """``output`` (N, C) float32 holds probabilities, one class of ``labels`` is the answer."""

    kind: Literal["classify"] = "classify"
    output: str = "scores_NC"
    labels: tuple[str, ...] = Field(min_length=2)


class MultilabelAnswer(MaybeUnsure):
    """``output`` (N, C) float32 holds a probability per label; those at or above their threshold apply."""

    kind: Literal["multilabel"] = "multilabel"
    output: str = "scores_NC"
    labels: tuple[str, ...] = Field(min_length=1)
    thresholds: tuple[float, ...]

    @model_validator(mode="after")
    def _one_threshold_a_label(self) -> Self:
        if len(self.thresholds) != len(self.labels):
            raise ValueError(f"expected {len(self.labels)} thresholds, one a label; got {len(self.thresholds)}")
        return self


class RegressAnswer(MaybeUnsure):
    """``output`` (N, 1) float32 holds a value between ``low`` and ``high``."""

    kind: Literal["regress"] = "regress"
    output: str = "values_N1"
    low: float
    high: float


class TagAnswer(Record):
    """``output`` (N, T, K) float32 holds probabilities of the token tags ``O, B-x, I-x, …`` of ``labels``.

    Tag 0 is ``O``; label ``i`` has ``B`` at ``1 + 2 i`` and ``I`` at ``2 + 2 i``, so K = 1 + 2 · len(labels).
    """

    kind: Literal["tag"] = "tag"
    output: str = "scores_NTK"
    labels: tuple[str, ...] = Field(min_length=1)


class EmbedAnswer(Record):
    """``output`` (N, D) float32 holds vectors of length 1, D = ``dim``; their product says how alike two inputs are."""

    kind: Literal["embed"] = "embed"
    output: str = "vectors_ND"
    dim: int = Field(ge=2)


class SegmentAnswer(Record):
    """``output`` (N, C, H, W) float32 holds, for each pixel that the model sees, the probability of each of ``labels``.

    H and W are those of the preprocessed image. A pixel's label is the one of the highest probability.
    """

    kind: Literal["segment"] = "segment"
    output: str = "scores_NCHW"
    labels: tuple[str, ...] = Field(min_length=2, max_length=MOST_MASK_LABELS)


Answer = Annotated[
    ClassifyAnswer | MultilabelAnswer | RegressAnswer | TagAnswer | EmbedAnswer | SegmentAnswer,
    Field(discriminator="kind"),
]
"""How the outputs of a path become a typed answer."""
