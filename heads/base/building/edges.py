"""Inputs at the edges of what preprocessing takes, for parity: exports must agree on them too."""

import io
from collections.abc import Iterable, Iterator

import numpy as np

from zoo.errors import InvalidInput, TooLong
from zoo.manifest import ImagePreprocessing, TextPreprocessing
from zoo.preprocessing import Preprocessor, Row

__all__ = ["edge_rows"]

_TEXTS = (
    "a",
    "?",
    "  \t\n ",
    "🙂",
    "👩‍👩‍👧‍👦🏳️‍🌈 ok",
    "ñandú café naïve Ünïcödé",
    "Привет, где мой заказ? 我的订单在哪里 أين طلبي",
    "e\u0301 and \u00e9, zero\u200bwidth, right\u202eto left",
    "[CLS] [SEP] [PAD] <s> </s>",
    "NO NO NO NO NO!!!!!!!!!!!!!!!!!!!!",
    "Supercalifragilisticexpialidocious" * 3,
    "4111 1111 1111 1111, +44 20 7946 0958, jo@example.com",
)
_SIZES = ((1, 1), (1, 300), (300, 1), (64, 48))


def edge_rows(preprocessor: Preprocessor) -> list[Row]:
    """Return edge inputs as rows: the shortest, the longest, odd scripts and shapes; what is refused is left out.

    Args:
        preprocessor: of the path that is compared.
    """
    spec = preprocessor.spec
    if isinstance(spec, TextPreprocessing):
        shortest, *others = _accepted(preprocessor, _TEXTS)
        return [shortest, _longest(preprocessor, spec.max_tokens), *others]
    if isinstance(spec, ImagePreprocessing):
        return list(_accepted(preprocessor, _images()))
    return []


def _accepted(preprocessor: Preprocessor, inputs: Iterable[str | bytes]) -> Iterator[Row]:
    for raw in inputs:
        try:
            yield preprocessor(raw)
        except InvalidInput:
            continue


def _longest(preprocessor: Preprocessor, max_tokens: int) -> Row:
    """Return the longest text of repeated words that is still taken."""
    low, high = 1, max_tokens + 1
    while high - low > 1:
        middle = (low + high) // 2
        try:
            preprocessor("on " * middle)
            low = middle
        except TooLong:
            high = middle
    return preprocessor("on " * low)


def _images() -> Iterator[bytes]:
    from PIL import Image

    noise = np.random.default_rng(0)
    for width, height in _SIZES:
        for pixels in (np.zeros((height, width, 3)), noise.integers(0, 256, (height, width, 3))):
            file = io.BytesIO()
            Image.fromarray(pixels.astype(np.uint8)).save(file, format="PNG")
            yield file.getvalue()
