"""The pictures of the digits head: scikit-learn's handwritten digits, enlarged.

``python -m heads.digits.images`` prints the labels.
"""

from collections.abc import Iterator
from typing import Any

import click
import numpy as np
from numpy.typing import NDArray

from heads.base.images import Drawn, labels_text, png_of
from heads.digits.head import DIGITS
from zoo.labels import Split

__all__ = ["drawn", "images", "picture"]

_SIZE_PX = 48
_STARTS: dict[Split, int] = {"train": 0, "valid": 700, "test": 1100}
"""Rows of one writer stand together, so splits are taken from places that are far apart."""
_OF_EACH: dict[Split, int] = {"train": 20, "valid": 10, "test": 28}


def images() -> Iterator[bytes]:
    """Yield every picture that the labels name."""
    return (each.file for each in drawn())


def drawn() -> Iterator[Drawn]:
    """Yield the chosen digits with their lines of labels: of each split's rows, the first of every digit."""
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    for split, start in _STARTS.items():
        left = dict.fromkeys(range(len(DIGITS)), _OF_EACH[split])
        for row in range(start, len(found.target)):
            digit = int(found.target[row])
            if left[digit]:
                left[digit] -= 1
                file = png_of(picture(found.images[row]))
                yield Drawn(id=f"{split}-{row:04}", split=split, slices=(), target=("label", DIGITS[digit]), file=file)


def picture(ink_HW: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a digit as a grey picture: dark on light, with a margin, enlarged by linear interpolation.

    Args:
        ink_HW: (8, 8), from 0 (none) to 16 (full), as scikit-learn has them.
    """
    padded_HW = np.pad(ink_HW, 1)
    places = np.linspace(0, len(padded_HW) - 1, _SIZE_PX)
    known = np.arange(len(padded_HW))
    wide = np.stack([np.interp(places, known, row) for row in padded_HW])
    large = np.stack([np.interp(places, known, column) for column in wide.T], axis=1)
    return np.rint(255 - large * 255 / 16).astype(np.uint8)


if __name__ == "__main__":
    click.echo(labels_text(drawn()), nl=False)
