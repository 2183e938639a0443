"""Examples: an input, and how it should be answered; values, wherever they come from."""

from dataclasses import dataclass
from typing import Literal

from zoo.masks import Mask

__all__ = ["SPLITS", "Example", "MaskRef", "Span", "Split", "Target", "labels_in"]

Split = Literal["train", "valid", "test"]
"""``train`` fits weights, ``valid`` chooses among them, ``test`` is for the gate alone."""

SPLITS: tuple[Split, ...] = ("train", "valid", "test")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled piece of a text: code points ``start`` to ``end``, ``end`` not included."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class MaskRef:
    """A mask by the digest of its PNG file in the blob store, where bytes live."""

    digest: str


Target = str | tuple[str, ...] | float | tuple[Span, ...] | MaskRef | Mask | tuple[float, ...]
"""What an example should be answered with: a label, labels, a value, spans or a mask.

A file names a mask; ``Mask`` is what it is once it was read. Numbers are what a head that embeds answers with, in the
place of a label.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One line of labels.

    Attributes:
        id: unique within the file.
        text: the input, or ``""`` if it is an image.
        image: digest of the encoded image in the blob store, or ``""`` if the input is a text.
        split: which part of the work may see it.
        slices: named subsets that it belongs to, for metrics.
        kind: the key of the target: ``label``, ``labels``, ``value``, ``spans`` or ``mask``.
        target: the answer that is wanted, of the type that ``kind`` says.
    """

    id: str
    text: str
    image: str
    split: Split
    slices: tuple[str, ...]
    kind: str
    target: Target


def labels_in(target: Target) -> set[str]:
    """Return the labels that a target names; a value has none, and a mask names its own only once it was read."""
    if isinstance(target, str):
        return {target}
    if isinstance(target, tuple):
        named = (item.label if isinstance(item, Span) else item for item in target)
        return {name for name in named if isinstance(name, str)}
    return set()
