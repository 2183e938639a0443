"""What a backbone needs done to its inputs, as plain data."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["ImageTransform", "Tokenization"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tokenization:
    """Text to token ids.

    Attributes:
        tokenizer_json: a tokenizer as the ``tokenizers`` library writes it, without padding or truncation.
        max_tokens: the longest text that the model was made for, in tokens, special tokens included.
        pad_id: the token id that fills up shorter rows of a batch.
    """

    tokenizer_json: bytes
    max_tokens: int
    pad_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageTransform:
    """An RGB image to a normalised square: shorter side resized, centre crop, ``(x / 255 - mean) / std``.

    Attributes:
        height: pixels of the crop.
        width: pixels of the crop.
        resize_shorter: pixels of the shorter side before the crop.
        interpolation: how the resize samples.
        mean: per channel, of values between 0 and 1.
        std: per channel, of values between 0 and 1.
    """

    height: int
    width: int
    resize_shorter: int
    interpolation: Literal["bilinear", "bicubic", "nearest"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
