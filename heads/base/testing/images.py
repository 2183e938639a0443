"""Changes of images that a good head does not mind, or that should move its answer."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blake3 import blake3

if TYPE_CHECKING:
    from PIL.Image import Image

__all__ = ["ImagePerturbation", "brighter", "rotated"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePerturbation:
    """A change of an encoded image; the result is a PNG.

    Attributes:
        name: for tables.
        change: of the image, given a number from -1 to 1 that is the same for the same input and seed.
        seed: another seed, other numbers.
    """

    name: str
    change: "Callable[[Image, float], Image]"
    seed: int

    def __call__(self, raw: str | bytes) -> bytes:
        """Return the changed image.

        Raises:
            TypeError: the input is a text.
        """
        if isinstance(raw, str):
            raise TypeError(
                f"{self.name} changes images, and this input is a text; there are typos, casing and others."
            )
        from PIL import Image

        chance = int.from_bytes(blake3(f"{self.seed}".encode() + raw).digest(4)) / 2**31 - 1
        with Image.open(io.BytesIO(raw)) as image:
            changed = self.change(image.convert("RGB"), chance)
        kept = io.BytesIO()
        changed.save(kept, "PNG")
        return kept.getvalue()


def rotated(degrees: float = 5.0, *, seed: int = 0) -> ImagePerturbation:
    """Return a rotation about the centre by up to so many degrees either way; corners get the image's mean colour.

    Args:
        degrees: the most.
        seed: of chance.
    """

    def change(image: "Image", chance: float) -> "Image":
        from PIL import Image, ImageStat

        mean = tuple(int(value) for value in ImageStat.Stat(image).mean)
        return image.rotate(degrees * chance, Image.Resampling.BILINEAR, fillcolor=mean)

    return ImagePerturbation(name=f"rotated {degrees:g}°", change=change, seed=seed)


def brighter(by: float = 0.2, *, seed: int = 0) -> ImagePerturbation:
    """Return a change of brightness by up to this share, up or down.

    Args:
        by: the most: 0.2 for 80 to 120 %.
        seed: of chance.
    """

    def change(image: "Image", chance: float) -> "Image":
        from PIL import ImageEnhance

        return ImageEnhance.Brightness(image).enhance(1 + by * chance)

    return ImagePerturbation(name=f"brighter {by:g}", change=change, seed=seed)
