"""What pre-training sees: faces and scripts that are held out, shapes that share a name, pictures that repeat."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backbone.pretrain.augment import LARGEST_TILT_DEG, distorted, rotated
from backbone.pretrain.collection import CANVAS_PX, UNNAMED, Collection, collect
from backbone.pretrain.drawing import Look, draw_glyph, draw_picture
from backbone.pretrain.faces import FACES, HELD_OUT_SCRIPTS, characters_of, is_held_out

CHARACTERS = ("\u0020", "A", "b", "\u0391", "\u0410", "\u0561", "\u2800")


@pytest.fixture(scope="module")
def collection() -> Collection:
    return collect(characters=lambda face: [each for each in CHARACTERS if each in characters_of(face)])


def of(collection: Collection, character: str) -> torch.Tensor:
    return collection.codes == ord(character)


def test_matplotlib_brings_the_faces_and_some_forty_eight_thousand_glyphs() -> None:
    assert len(FACES) == 14
    assert 48_000 < sum(len(characters_of(face.name)) for face in FACES) < 49_000


def test_characters_that_look_the_same_share_a_name_and_others_do_not(collection: Collection) -> None:
    names = {character: set(collection.classes[of(collection, character)].tolist()) for character in "AΑАb"}
    assert names["A"] == names["Α"] == names["А"]
    assert len(names["A"]) == 1
    assert names["b"] != names["A"]


def test_a_glyph_without_ink_is_left_out(collection: Collection) -> None:
    assert not of(collection, " ").any()


def test_training_sees_no_held_out_face_and_no_held_out_script(collection: Collection) -> None:
    seen = collection.for_training()
    assert not {FACES[face].name for face in collection.faces[seen]} & {face.name for face in FACES if face.held_out}
    assert not any(is_held_out(chr(code)) for code in collection.codes[seen])
    assert (collection.classes[of(collection, "ա")] == UNNAMED).all()
    assert (
        len(collection.of_held_out_scripts()) == len(FACES) - 2 - 2
    )  # the held-out faces, and two that have few letters
    assert {FACES[face].name for face in collection.faces[collection.of_held_out_faces()]} == {
        "DejaVuSansMono-BoldOblique",
        "DejaVuSerif-BoldItalic",
    }


def test_every_held_out_script_has_letters_in_a_face_that_is_seen() -> None:
    for ranges in HELD_OUT_SCRIPTS.values():
        assert any(first <= ord(each) <= last for each in characters_of("DejaVuSans") for first, last in ranges)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**63 - 1), st.integers(1, 9))
def test_pictures_are_what_the_seed_says_and_within_their_range(seed: int, count: int) -> None:
    masks_NHW = torch.randint(0, 256, (count, CANVAS_PX, CANVAS_PX), dtype=torch.uint8)
    (images, tilt), (again, _) = (distorted(masks_NHW, 24, torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(images, again)
    assert images.shape == (count, 3, 24, 24)
    assert images.abs().max() <= 1
    assert tilt.abs().max() <= LARGEST_TILT_DEG


def test_both_ways_of_drawing_turn_a_letter_the_same_way() -> None:
    ink_N1HW = torch.tensor(draw_glyph("L", "DejaVuSans", canvas_px=64, font_px=44))[None, None].float() / 255
    picture = draw_picture("L", "DejaVuSans", Look(size_px=64, font_px=44, tilt_deg=30))
    shown = torch.from_numpy(255 - picture[..., 0]).float() / 255

    def likeness(tilt_deg: float) -> float:
        turned = rotated(
            ink_N1HW.repeat(16, 1, 1, 1), torch.full((16,), tilt_deg), 64, torch.Generator().manual_seed(0)
        )
        return float((turned[:, 0] * shown).sum())

    assert likeness(30) > likeness(0)
    assert likeness(30) > 1.2 * likeness(-30)


def test_a_picture_is_the_same_each_time_and_changes_with_its_look() -> None:
    look = Look(tilt_deg=10, noise=9, seed=3)
    np.testing.assert_array_equal(draw_picture("g", "DejaVuSerif", look), draw_picture("g", "DejaVuSerif", look))
    assert (draw_picture("g", "DejaVuSerif", look) != draw_picture("g", "DejaVuSans", look)).any()


def test_a_glyph_that_would_not_fit_is_drawn_smaller() -> None:
    for character in characters_of("DejaVuSans")[::97]:
        edges = draw_glyph(character, "DejaVuSans", canvas_px=64, font_px=60)
        assert not edges[0].any(), hex(ord(character))
        assert not edges[:, -1].any(), hex(ord(character))
