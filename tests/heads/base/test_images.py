"""Pictures that labels name: made again, put into a zoo, and told apart when they are not what they were."""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from heads.base import Classify
from heads.base.errors import InvalidHead
from heads.base.images import Drawn, fill_images, labels_text, missing_images, png_of
from tests.support.head_packages import TeamFolder
from zoo import Zoo
from zoo.commands import main
from zoo.digest import digest_bytes
from zoo.errors import InvalidLabels
from zoo.labels import read_labels

IMAGES_PY = '''"""Draws squares of one grey."""

import numpy as np

from heads.base.images import png_of


def images():
    for grey in GREYS:
        yield png_of(np.full((4, 4), grey, np.uint8))
'''
GREYS = (10, 20, 30, 40)


def square(grey: int) -> bytes:
    return png_of(np.full((4, 4), grey, np.uint8))


@pytest.fixture
def shade(tmp_path: Path) -> TeamFolder:
    """A package whose labels name four squares, and whose images.py draws them."""
    team = TeamFolder(tmp_path / "shade", name="shade", task=Classify(labels=("dark", "light")), bounds={})
    splits = ("train", "train", "valid", "test")
    team.write_labels(
        [
            {
                "id": f"shade-{number}",
                "image": digest_bytes(square(grey)),
                "split": splits[number],
                "slices": [],
                "label": ("dark", "light")[number % 2],
            }
            for number, grey in enumerate(GREYS)
        ]
    )
    draw(team, *GREYS)
    return team


def draw(team: TeamFolder, *greys: int) -> None:
    (team.path / "images.py").write_text(IMAGES_PY.replace("GREYS", repr(greys)))


@pytest.fixture
def empty_zoo(tmp_path: Path) -> Iterator[Zoo]:
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        yield zoo


def fill(zoo: Zoo, team: TeamFolder) -> tuple[int, int]:
    filled = fill_images(zoo, team.package, team.package.labels())
    return filled.named, filled.put


def zoo_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def test_what_is_missing_is_put_and_what_is_there_is_left_alone(empty_zoo: Zoo, shade: TeamFolder) -> None:
    empty_zoo.blobs.put(square(20))
    assert len(missing_images(empty_zoo, shade.package.labels())) == 3
    assert fill(empty_zoo, shade) == (4, 3)
    assert empty_zoo.blobs.get(digest_bytes(square(40))) == square(40)
    (shade.path / "images.py").write_text("raise RuntimeError('not run when nothing is missing')")
    assert fill(empty_zoo, shade) == (4, 0)


def test_a_package_without_pictures_to_make_is_left_to_the_message_about_its_example(
    empty_zoo: Zoo, shade: TeamFolder
) -> None:
    (shade.path / "images.py").unlink()
    assert fill(empty_zoo, shade) == (4, 0)


def test_a_picture_that_is_drawn_otherwise_is_named_with_its_line_and_the_libraries(
    empty_zoo: Zoo, shade: TeamFolder
) -> None:
    draw(shade, 10, 21, 30, 41)
    with pytest.raises(
        InvalidLabels, match=r"labels\.jsonl:2: the picture of 'shade-1' .* the 4 that .*images\.py"
    ) as e:
        fill(empty_zoo, shade)
    assert "1 others of 4" in str(e.value)
    assert "pillow" in str(e.value)
    assert "requirements.lock" in str(e.value)


@pytest.mark.parametrize("source", ["import nothing_of_that_name", "def images():\n    return 1 / 0", "x = 1"])
def test_an_images_file_that_fails_is_said_with_its_error(empty_zoo: Zoo, shade: TeamFolder, source: str) -> None:
    (shade.path / "images.py").write_text(source)
    with pytest.raises(InvalidHead, match=r"cannot make the pictures of 'shade': (Module|ZeroDiv|Attribute)"):
        fill(empty_zoo, shade)


@given(st.integers(0, 2**32 - 1), st.integers(1, 300), st.integers(1, 90), st.booleans())
def test_a_png_file_holds_exactly_its_pixels(seed: int, height: int, width: int, colour: bool) -> None:
    shape = (height, width, 3) if colour else (height, width)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    with Image.open(io.BytesIO(png_of(pixels))) as image:
        assert image.mode == ("RGB" if colour else "L")
        np.testing.assert_array_equal(np.asarray(image), pixels)


def test_the_bytes_of_a_png_file_never_change() -> None:
    pixels = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
    assert digest_bytes(png_of(pixels)) == "94678f2ae44aa8839695da97a88afe02213ee5dd7f70c6a15429aaba188b81a9"


def test_labels_text_is_a_labels_file_that_reads(tmp_path: Path) -> None:
    splits: Any = ("train", "valid", "test")
    drawn = [
        Drawn(id=f"b-{3 - k}", split=splits[k], slices=("few",), target=("label", "ß"), file=square(k))
        for k in range(3)
    ]
    (tmp_path / "labels.jsonl").write_text(labels_text(drawn), encoding="utf-8")
    read = read_labels(tmp_path / "labels.jsonl")
    assert set(read.files()) == {digest_bytes(each.file) for each in drawn}
    assert read.label_names() == {"ß"}


def test_put_stores_the_pictures_of_a_folder_and_prints_their_digests(empty_zoo: Zoo, tmp_path: Path) -> None:
    folder = tmp_path / "photos" / "deep"
    folder.mkdir(parents=True)
    (folder / "b.png").write_bytes(square(7))
    (folder / "a.PNG").write_bytes(square(8))
    (folder / "notes.txt").write_text("no picture")
    done = zoo_command("labels", "put", tmp_path / "photos", "--zoo", tmp_path / "zoo")
    first, second = done.stdout.splitlines()
    assert first == f"{digest_bytes(square(8))} {folder / 'a.PNG'}"
    assert second == f"{digest_bytes(square(7))} {folder / 'b.png'}"
    assert empty_zoo.blobs.get(digest_bytes(square(7))) == square(7)


def test_put_stores_nothing_if_one_file_is_no_picture(empty_zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(square(9))
    (tmp_path / "b.png").write_bytes(square(9)[:50])
    done = zoo_command("labels", "put", tmp_path / "a.png", tmp_path / "b.png", "--zoo", tmp_path / "zoo")
    assert done.exit_code == 1
    assert f"error: {tmp_path / 'b.png'} is not stored, nor is any other." in done.stderr
    assert not empty_zoo.blobs.has(digest_bytes(square(9)))


def test_put_says_that_a_folder_holds_no_picture(empty_zoo: Zoo, tmp_path: Path) -> None:
    (tmp_path / "none").mkdir()
    done = zoo_command("labels", "put", tmp_path / "none", "--zoo", tmp_path / "zoo")
    assert done.exit_code == 2
    assert "There is no .jpeg, .jpg, .png file in" in done.stderr


def test_fill_makes_the_pictures_of_a_team(empty_zoo: Zoo, tmp_path: Path) -> None:
    arguments = ("labels", "fill", "digits", "--zoo", tmp_path / "zoo", "--json")
    first, second = (json.loads(zoo_command(*arguments).stdout)[0] for _ in range(2))
    assert first["missing"] == second["missing"] == second["put"] == 0
    assert first["put"] == first["named"] > 500
