"""Image preprocessing, compared with the evaluation transforms of torchvision and timm."""

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from timm.data.transforms_factory import create_transform
from torchvision import transforms  # type: ignore[import-untyped]  # torchvision ships no type hints

from zoo.errors import InvalidInput, Undecodable
from zoo.manifest import ImagePreprocessing
from zoo.preprocessing import Preprocessor, collate, load_preprocessor
from zoo.preprocessing.image import check_image

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
PLAIN: dict[str, Any] = {"mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}


def load(**changes: Any) -> Preprocessor:
    numbers: dict[str, Any] = {"height": 32, "width": 32, "resize_shorter": 36, "interpolation": "bicubic"}
    spec = ImagePreprocessing(**{**numbers, "mean": MEAN, "std": STD, **changes})
    return load_preprocessor(spec, lambda digest: pytest.fail(f"an image needs no blob, but {digest} was read"))


def gradient(width: int, height: int) -> Image.Image:
    y, x = np.mgrid[0:height, 0:width]
    red, green = 255 * x / max(width - 1, 1), 255 * y / max(height - 1, 1)
    return Image.fromarray(np.stack([red, green, (red + green) % 256], -1).astype(np.uint8))


def encode(image: Image.Image, file_format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, file_format, **options)
    return buffer.getvalue()


def solid(mode: str, colour: Any, size: tuple[int, int] = (8, 8)) -> bytes:
    return encode(Image.new(mode, size, colour))


def pixels(preprocess: Preprocessor, data: bytes) -> NDArray[Any]:
    return preprocess(data).tensors["images_NCHW"]


@pytest.mark.parametrize("size", [(97, 61), (61, 97), (50, 50), (20, 300), (33, 37), (36, 36), (3, 2), (1, 1)])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_pixels_equal_those_of_torchvisions_evaluation_transforms(size: tuple[int, int], interpolation: str) -> None:
    image = gradient(*size)
    reference = transforms.Compose(
        [
            transforms.Resize(36, transforms.InterpolationMode(interpolation)),
            transforms.CenterCrop(32),
            transforms.ToTensor(),
            transforms.Normalize(MEAN, STD),
        ]
    )(image)
    ours = pixels(load(interpolation=interpolation), encode(image))
    assert ours.dtype == np.float32
    assert ours.flags.c_contiguous
    np.testing.assert_array_equal(ours, reference.numpy())


def test_pixels_equal_those_of_timms_evaluation_transform() -> None:
    image = gradient(301, 257)
    reference = create_transform(224, interpolation="bicubic", mean=MEAN, std=STD, crop_pct=0.875)(image)
    ours = pixels(load(height=224, width=224, resize_shorter=256), encode(image))
    assert isinstance(reference, torch.Tensor)
    np.testing.assert_array_equal(ours, reference.numpy())


@pytest.mark.parametrize("size", [(97, 61), (31, 29), (20, 90)])
def test_a_crop_larger_than_the_image_is_padded_as_torchvision_pads(size: tuple[int, int]) -> None:
    image = gradient(*size)
    steps = [transforms.Resize(24), transforms.CenterCrop((33, 40)), transforms.ToTensor()]
    ours = pixels(load(height=33, width=40, resize_shorter=24, interpolation="bilinear", **PLAIN), encode(image))
    np.testing.assert_array_equal(ours, transforms.Compose(steps)(image).numpy())


def test_a_jpeg_turned_by_its_exif_orientation_stands_upright() -> None:
    upright = gradient(64, 32)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored lying on its side: turn by 90 degrees clockwise to view
    lying = encode(upright.transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif, quality=95)
    preprocess = load(**PLAIN)
    difference = pixels(preprocess, lying) - pixels(preprocess, encode(upright, "JPEG", quality=95))
    assert np.abs(difference).mean() < 0.02


def test_transparent_pixels_become_white() -> None:
    preprocess = load(**PLAIN)
    assert pixels(preprocess, solid("RGBA", (255, 0, 0, 0))).min() == 1.0
    assert pixels(preprocess, solid("LA", (0, 0))).min() == 1.0
    np.testing.assert_allclose(pixels(preprocess, solid("RGBA", (0, 0, 0, 128))), 127 / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "colour", "expected"),
    [
        ("L", 51, (0.2, 0.2, 0.2)),
        ("1", 1, (1.0, 1.0, 1.0)),
        ("I;16", 0x33FF, (0.2, 0.2, 0.2)),
        ("RGB", (255, 51, 0), (1.0, 0.2, 0.0)),
    ],
)
def test_every_colour_mode_becomes_rgb(mode: str, colour: Any, expected: tuple[float, float, float]) -> None:
    image = pixels(load(**PLAIN), solid(mode, colour))
    np.testing.assert_allclose(image, np.broadcast_to(np.reshape(expected, (3, 1, 1)), image.shape), atol=1e-6)


def test_palette_and_cmyk_images_become_rgb() -> None:
    red = Image.new("RGB", (8, 8), (255, 0, 0))
    for data in (encode(red.convert("P")), encode(red.convert("CMYK"), "JPEG")):
        np.testing.assert_allclose(pixels(load(**PLAIN), data).mean((1, 2)), (1, 0, 0), atol=0.02)


def png_header(width: int, height: int) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + struct.pack(">I", zlib.crc32(b"IDAT"))


@pytest.mark.parametrize("side", [8_001, 10_000, 60_000])
def test_a_decompression_bomb_is_refused_by_its_header(side: int) -> None:
    with pytest.raises(Undecodable, match=r"64,000,000"):
        load()(png_header(side, side))


def test_a_sliver_whose_resized_form_would_be_huge_is_refused() -> None:
    with pytest.raises(Undecodable, match="Crop it"):
        load(resize_shorter=256)(solid("L", 0, (2_000_000, 1)))


@pytest.mark.parametrize("data", [b"", b"hello", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
def test_bytes_that_are_no_image_are_undecodable(data: bytes) -> None:
    with pytest.raises(Undecodable, match="not a whole JPEG or PNG"):
        load()(data)


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_truncated_image_is_undecodable(file_format: str) -> None:
    data = encode(gradient(64, 64), file_format)
    with pytest.raises(Undecodable):
        load()(data[: len(data) // 2])


@pytest.mark.parametrize("file_format", ["GIF", "BMP", "TIFF"])
def test_other_formats_are_undecodable(file_format: str) -> None:
    with pytest.raises(Undecodable):
        load()(encode(gradient(8, 8), file_format))


GOOD = {file_format: encode(gradient(24, 24), file_format) for file_format in ("PNG", "JPEG")}
PREPROCESS = load()


@given(st.sampled_from(sorted(GOOD)), st.integers(0, 2000), st.binary(min_size=1, max_size=8))
@pytest.mark.filterwarnings("ignore:.*EXIF:UserWarning")
def test_damaged_images_become_a_row_or_undecodable(file_format: str, place: int, damage: bytes) -> None:
    data = bytearray(GOOD[file_format])
    place %= len(data)
    data[place : place + len(damage)] = damage
    try:
        row = PREPROCESS(bytes(data))
    except Undecodable:
        return
    assert np.isfinite(row.tensors["images_NCHW"]).all()


def test_a_text_is_no_image() -> None:
    with pytest.raises(InvalidInput, match=r"JPEG or PNG file.*got text"):
        load()("cat.jpg")


def test_a_ready_image_is_taken_as_it_is_and_a_wrong_one_is_refused() -> None:
    preprocess = load()
    image_CHW = np.zeros((3, 32, 32), np.float32)
    assert preprocess({"images_NCHW": image_CHW}).tensors["images_NCHW"] is image_CHW
    with pytest.raises(InvalidInput, match=r"\(3, 32, 32\) float32; got \(32, 32, 3\) uint8"):
        preprocess({"images_NCHW": np.zeros((32, 32, 3), np.uint8)})
    with pytest.raises(InvalidInput, match="finite"):
        preprocess({"images_NCHW": np.full((3, 32, 32), np.nan, np.float32)})


def test_collate_stacks_images() -> None:
    preprocess = load()
    rows = [preprocess(encode(gradient(width, 40))) for width in (40, 50, 60)]
    batch = collate(rows, preprocess)
    assert batch["images_NCHW"].shape == (3, 3, 32, 32)
    np.testing.assert_array_equal(batch["images_NCHW"][1], rows[1].tensors["images_NCHW"])


def test_what_is_no_image_is_said_in_words_and_not_by_an_address_in_memory() -> None:
    with pytest.raises(Undecodable, match=r"not a whole JPEG or PNG image \(neither begins like this\)") as refusal:
        check_image(b"not an image")
    assert "0x" not in str(refusal.value)
