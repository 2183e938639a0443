"""The client reads masks without an image library, and tells what it cannot read."""

import io

import numpy as np
import pytest
from hydrazoo.client.errors import ServerError
from hydrazoo.client.png import grey_pixels
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from zoo.masks import Mask


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 2**32 - 1))
def test_the_client_reads_every_mask_that_a_server_writes(height: int, width: int, seed: int) -> None:
    mask = Mask.of(np.random.default_rng(seed).integers(0, 256, (height, width), np.uint8))
    assert np.array_equal(grey_pixels(mask.to_png()), mask.array)


def colours() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (3, 1)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("end", [8, 20, 40, -20, -30])
def test_a_file_that_was_cut_off_is_the_servers_fault(end: int) -> None:
    whole = Mask.of(np.arange(64, dtype=np.uint8).reshape(8, 8)).to_png()
    with pytest.raises(ServerError, match="no whole PNG file"):
        grey_pixels(whole[:end])


def test_a_file_of_colours_is_the_servers_fault() -> None:
    with pytest.raises(ServerError, match=r"no whole PNG file|of the form"):
        grey_pixels(colours())
