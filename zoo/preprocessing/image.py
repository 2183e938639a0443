"""An encoded image to normalised RGB pixels, as the evaluation transforms of torchvision and timm do it."""

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from zoo.errors import InvalidInput, Undecodable
from zoo.manifest import ImagePreprocessing, TensorSpec
from zoo.preprocessing.row import Raw, Row, digest_image, digest_tensors
from zoo.preprocessing.tensor import check_tensors, describe_raw

__all__ = ["MAX_PIXELS", "ImagePreprocessor", "check_image", "framed"]

MAX_PIXELS = 64_000_000
"""An image of more pixels, as sent or once resized, is refused before they are allocated (192 MB as RGB)."""

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "nearest": Image.Resampling.NEAREST,
}


class ImagePreprocessor:
    """Decodes a JPEG or PNG, turns it upright, resizes its shorter side, crops the centre and normalises.

    Transparent pixels are laid over white: their hidden colours mean nothing to whoever sent them.
    16-bit grey is scaled to 8 bits.
    """

    def __init__(self, spec: ImagePreprocessing) -> None:
        self.spec = spec
        self.declared = (TensorSpec(name="images_NCHW", dtype="float32", shape=("N", 3, spec.height, spec.width)),)
        self._mean = np.array(spec.mean, np.float32)[:, None, None]
        self._std = np.array(spec.std, np.float32)[:, None, None]

    def __call__(self, raw: Raw) -> Row:
        """Preprocess an encoded image, or check a ready ``images_NCHW``; see ``Preprocessor``."""
        if isinstance(raw, bytes):
            return Row(tensors={"images_NCHW": self._pixels(raw)}, length=1, digest=digest_image(raw))
        if isinstance(raw, Mapping):
            check_tensors(raw, self.declared)
            return Row(tensors=dict(raw), length=1, digest=digest_tensors(raw))
        wanted = "the bytes of a JPEG or PNG file, or a ready tensor images_NCHW"
        raise InvalidInput(f"This model takes {wanted}; got {describe_raw(raw)}.")

    def _pixels(self, data: bytes) -> NDArray[np.float32]:
        image = framed(_decode(data), self.spec, _RESAMPLING[self.spec.interpolation])
        pixels_HWC = np.asarray(image, np.float32) / np.float32(255)
        pixels_CHW: NDArray[np.float32] = np.ascontiguousarray(pixels_HWC.transpose(2, 0, 1))
        return (pixels_CHW - self._mean) / self._std


def check_image(data: bytes) -> None:
    """Raise Undecodable if bytes are not a whole JPEG or PNG, or one of too many pixels."""
    _decode(data)


def framed(image: Image.Image, spec: ImagePreprocessing, resampling: Image.Resampling, outside: int = 0) -> Image.Image:
    """Return what a model sees of an image: its shorter side resized, and the centre cropped.

    Args:
        image: upright.
        spec: the sizes.
        resampling: how it is resized.
        outside: the value of pixels that lie beyond its edges, where the crop is larger than the image.

    Raises:
        Undecodable: it is so long that, resized, it would have too many pixels.
    """
    return _crop(_resize(image, spec.resize_shorter, resampling), spec.width, spec.height, outside)


def _resize(image: Image.Image, size: int, resampling: Image.Resampling) -> Image.Image:
    shorter, longer = sorted(image.size)
    resized_longer = int(size * longer / shorter)
    if size * resized_longer > MAX_PIXELS:
        raise Undecodable(
            f"The image is {image.width} × {image.height} pixels; with its shorter side resized to {size} it "
            f"would have more than {MAX_PIXELS:,}. Crop it to what matters before sending it."
        )
    wide = image.width > image.height
    new_size = (resized_longer, size) if wide else (size, resized_longer)
    return image.resize(new_size, resampling)


def _crop(image: Image.Image, width: int, height: int, outside: int) -> Image.Image:
    # Halves round to even, as torchvision rounds them; where the crop is larger than the image it is padded, left and
    # top getting the smaller half.
    if width > image.width or height > image.height:
        image = _pad(image, width, height, outside)
    left = round((image.width - width) / 2)
    top = round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _pad(image: Image.Image, width: int, height: int, outside: int) -> Image.Image:
    size = max(width, image.width), max(height, image.height)
    canvas = Image.new(image.mode, size, outside)
    canvas.paste(image, ((canvas.width - image.width) // 2, (canvas.height - image.height) // 2))
    return canvas


def _decode(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Undecodable(f"The image has more than {MAX_PIXELS:,} pixels. Shrink it before sending it.") from error
    except UnidentifiedImageError as error:  # whose text is the address of our buffer
        raise _not_an_image(data, "neither begins like this") from error
    except Exception as error:  # Pillow's parsers raise many types on malformed bytes, all of them the sender's fault
        raise _not_an_image(data, error) from error
    if image.width * image.height > MAX_PIXELS:
        raise Undecodable(
            f"The image has {image.width * image.height:,} pixels ({image.width} × {image.height}); at most "
            f"{MAX_PIXELS:,} are decoded. Shrink it before sending it."
        )
    try:
        return _to_rgb(ImageOps.exif_transpose(image))
    except Exception as error:  # as above: the pixels are only parsed now
        raise _not_an_image(data, error) from error


def _not_an_image(data: bytes, why: object) -> Undecodable:
    return Undecodable(
        f"The {len(data):,} bytes are not a whole JPEG or PNG image ({why}). "
        "Send the bytes of the file as they are, not text, a path or base64."
    )


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I"):
        grey_HW: NDArray[Any] = np.asarray(image)
        return Image.fromarray((grey_HW >> 8).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")
