"""How a report shows an example: its text or a small picture of its image, and what is wanted or answered."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from heads.base.inspect.collect import Judged, Subject
from heads.base.inspect.page import Html, element, picture
from zoo.labels import Span, Target

__all__ = ["example_input", "shown_target", "thumbnail"]

_MOST_CHARACTERS = 600
_THUMBNAIL_PIXELS = 112


def example_input(judged: Judged, subject: Subject) -> Html:
    """Return an example's input, for a cell of a table."""
    if judged.example.image:
        return picture(thumbnail(subject.blob(judged.example.image)), f"image of {judged.example.id}", class_="pixels")
    return element("div", _cut(judged.example.text), class_="text")


def thumbnail(encoded: bytes) -> NDArray[np.uint8]:
    """Return a small picture of an image file, (H, W, 3) uint8."""
    with Image.open(io.BytesIO(encoded)) as image:
        small = image.convert("RGB")
    small.thumbnail((_THUMBNAIL_PIXELS, _THUMBNAIL_PIXELS))
    return np.asarray(small, np.uint8)


def shown_target(target: Target, text: str = "") -> str:
    """Return a target or an answer as people read it.

    Args:
        target: of any kind.
        text: what spans point into.

    >>> shown_target(("late", "damaged")), shown_target(()), shown_target(2.5)
    ('late, damaged', 'none', '2.50')
    >>> shown_target((Span(3, 7, "city"),), "to Rome")
    'city: Rome'
    """
    if isinstance(target, float):
        return f"{target:.2f}"
    if isinstance(target, tuple):
        return ", ".join(_item(item, text) for item in target) or "none"
    return target if isinstance(target, str) else "a mask"


def _item(item: str | float | Span, text: str) -> str:
    return f"{item.label}: {text[item.start : item.end]}" if isinstance(item, Span) else f"{item}"


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_CHARACTERS else text[:_MOST_CHARACTERS] + "…"
