import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from heads.base.testing import brighter, casing, names, numbers, punctuation, rotated, spaces, typos
from heads.base.testing.perturbations import Perturbation

ALL = [typos(), typos(count=3), casing("upper"), spaces(), punctuation(), names(), numbers()]


@pytest.mark.parametrize("change", ALL, ids=lambda change: change.name)
@given(text=st.text())
def test_the_same_text_is_always_changed_the_same_way(change: Perturbation, text: str) -> None:
    assert change(text) == change(text)


@given(text=st.text(), seed=st.integers())
def test_spaces_add_spaces_and_nothing_else(text: str, seed: int) -> None:
    assert spaces(seed=seed)(text).replace(" ", "") == text.replace(" ", "")


@given(text=st.text(alphabet="ab 4711,."), seed=st.integers())
def test_numbers_keep_their_places_and_every_run_changes(text: str, seed: int) -> None:
    changed = numbers(seed=seed)(text)
    assert len(changed) == len(text)
    for old, new in zip(text, changed, strict=True):
        assert old.isdigit() == new.isdigit()
        assert old.isdigit() or old == new
    assert (changed == text) == (not any(sign.isdigit() for sign in text))


@given(word=st.text(alphabet="abcdefgh", min_size=4, max_size=12), seed=st.integers())
def test_a_typo_keeps_the_first_letter_and_moves_at_most_one(word: str, seed: int) -> None:
    changed = typos(seed=seed)(word)
    assert changed[0] == word[0]
    assert abs(len(changed) - len(word)) <= 1


def test_typos_are_made_in_as_many_words_as_asked_for() -> None:
    text = "several words become different words"
    changed = [typos(seed=seed, count=2)(text) for seed in range(20)]
    assert len(set(changed)) > 10
    assert all(sum(a != b for a, b in zip(text.split(), each.split(), strict=True)) <= 2 for each in changed)


def test_names_become_other_names_and_only_whole_words_count() -> None:
    changed = names(seed=3)("Ask Maria, not Mariana or mark.")
    assert not changed.startswith("Ask Maria,")
    assert changed.endswith(", not Mariana or mark.")


def test_punctuation_leaves_marks_that_mean_something() -> None:
    assert all(punctuation(seed=seed)("Is it, really?").endswith("really?") for seed in range(9))


def test_a_change_of_texts_refuses_images_and_the_other_way_round() -> None:
    with pytest.raises(TypeError, match="rotated and brighter"):
        typos()(b"png")
    with pytest.raises(TypeError, match="typos, casing"):
        rotated()("text")


def png(pixels_HWC: np.ndarray) -> bytes:
    kept = io.BytesIO()
    Image.fromarray(pixels_HWC).save(kept, "PNG")
    return kept.getvalue()


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)), np.float64)


def test_brightness_moves_all_pixels_by_the_same_share_within_the_bound() -> None:
    image = png(np.full((8, 6, 3), 100, np.uint8))
    means = [pixels(brighter(0.2, seed=seed)(image)).mean() for seed in range(20)]
    assert 79 <= min(means) < 95 < 105 < max(means) <= 121
    assert brighter(seed=1)(image) == brighter(seed=1)(image)


def test_a_small_rotation_keeps_the_middle_and_the_size() -> None:
    cross = np.zeros((33, 33, 3), np.uint8)
    cross[16], cross[:, 16] = 255, 255
    changed = pixels(rotated(10, seed=4)(png(cross)))
    assert changed.shape == cross.shape
    assert changed[16, 16].min() > 200
    assert abs(changed - cross).max() > 100
