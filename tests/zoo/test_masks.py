"""Masks: what their PNG files say to others, and how they follow the frame of their image."""

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.errors import Undecodable
from zoo.manifest import ImagePreprocessing
from zoo.masks import UNLABELLED, Mask
from zoo.preprocessing import load_preprocessor
from zoo.preprocessing.mask import load_mask


def spec(height: int, width: int, shorter: int) -> ImagePreprocessing:
    return ImagePreprocessing(
        height=height, width=width, resize_shorter=shorter, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )


def png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_any_reader_of_png_files_reads_a_mask_as_it_was(height: int, width: int, seed: int) -> None:
    mask = Mask.of(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8))
    image = Image.open(io.BytesIO(mask.to_png()))
    assert image.mode == "L"
    assert np.array_equal(np.asarray(image), mask.array)


def test_a_mask_of_few_labels_is_small_as_a_file() -> None:
    pixels_HW = np.zeros((224, 224), np.uint8)
    pixels_HW[40:90, 30:200] = 1
    assert len(Mask.of(pixels_HW).to_png()) < 1000


def test_shares_say_how_much_of_the_image_each_label_has_and_leave_out_what_has_none() -> None:
    mask = Mask.of(np.array([[0, 1, UNLABELLED, 1]], np.uint8))
    assert mask.shares(("ground", "glyph", "other")) == {"ground": 0.25, "glyph": 0.5, "other": 0.0}


@given(st.integers(3, 60), st.integers(3, 60), st.integers(4, 24), st.integers(4, 24), st.integers(4, 30))
def test_a_mask_lies_over_what_the_model_sees_of_its_image(
    high: int, wide: int, height: int, width: int, shorter: int
) -> None:
    """A picture whose left half is white and the mask of its left half stay together but for the blurred edge."""
    places_HW = np.zeros((high, wide), np.uint8)
    places_HW[:, : wide // 2] = 1
    seen = spec(height, width, shorter)
    mask = load_mask(Mask.of(places_HW).to_png(), seen).array
    image = Image.fromarray(places_HW * 255).convert("RGB")
    pixels_HW = load_preprocessor(seen, lambda _: b"")(png(image)).tensors["images_NCHW"][0]
    assert mask.shape == pixels_HW.shape == (height, width)
    labelled = mask != UNLABELLED
    sharp = (pixels_HW < 0.02) | (pixels_HW > 0.98)
    assert np.array_equal((mask == 1)[labelled & sharp], (pixels_HW > 0.5)[labelled & sharp])


def test_what_lies_beyond_the_edges_of_the_image_has_no_label() -> None:
    mask = load_mask(Mask.of(np.ones((4, 4), np.uint8)).to_png(), spec(8, 8, 4)).array
    assert (mask == 1).sum() == 16
    assert (mask == UNLABELLED).sum() == 48


def test_a_palette_file_counts_by_its_places_and_not_by_its_colours() -> None:
    image = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), mode="P")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    assert load_mask(png(image), spec(2, 2, 2)).array.tolist() == [[0, 1], [2, 1]]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (png(Image.new("RGB", (2, 2))), "mode RGB; expected one byte a pixel"),
        (Mask.of(np.zeros((9, 9), np.uint8)).to_png()[:-26], "not a whole PNG"),
        (b"no file", "not a whole PNG"),
    ],
    ids=["three bytes a pixel", "cut off", "another kind"],
)
def test_a_file_that_is_no_mask_is_refused_with_what_is_expected(data: bytes, message: str) -> None:
    with pytest.raises(Undecodable, match=message):
        load_mask(data, spec(4, 4, 4))
