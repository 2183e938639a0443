from collections.abc import Mapping

import numpy as np
import pytest

from heads.base import Segment, Tag
from heads.base.testing.suspicious_parts import agreement, cell_shares, suspicious_parts
from heads.base.testing.vectors import Parts
from zoo.labels import Example, Span, Target
from zoo.masks import UNLABELLED, Mask

CHANCE = np.random.default_rng(0)
TASK = Tag(labels=("name", "city"))
MASKS = Segment(labels=("ground", "glyph"))
KINDS = {"anna": 1, "ruth": 1, "rome": 2, "oslo": 2}


def example(number: int, text: str, target: Target, kind: str) -> Example:
    return Example(id=f"x-{number:02}", text=text, image="", split="train", slices=(), kind=kind, target=target)


def texts(spans: Mapping[int, tuple[Span, ...]]) -> Parts:
    """60 texts of a name and a city, whose tokens, in twos, know what they are; some with other labels."""
    examples, offsets, vectors = [], [], []
    for number in range(60):
        name, city = ("anna", "ruth")[number % 2], ("rome", "oslo")[number // 2 % 2]
        text = f"{name} saw {city} ."
        right = (Span(0, 4, "name"), Span(9, 13, "city"))
        examples.append(example(number, text, spans.get(number, right), "spans"))
        tokens = ((0, 0), (0, 2), (2, 4), (5, 8), (9, 11), (11, 13), (14, 15))
        kinds = np.array([0, 1, 1, 0, 2, 2, 0])
        offsets.append(tokens)
        vectors.append((np.eye(4)[kinds] * 3 + CHANCE.standard_normal((7, 4)) * 0.3).astype(np.float32))
    return Parts(examples=tuple(examples), offsets=tuple(offsets), vectors=tuple(vectors))


def test_a_piece_that_was_not_marked_and_one_that_was_called_another_are_found_whole() -> None:
    wrong = {7: (Span(9, 13, "city"),), 20: (Span(0, 4, "name"), Span(9, 13, "name"))}
    found = {each.ids[0]: each.text for each in suspicious_parts(TASK, texts(wrong))}
    assert sorted(found) == ["x-07", "x-20"]
    assert "has 'ruth' (0 to 4) labelled 'none' (probability 0." in found["x-07"]
    assert "looks like 'name'" in found["x-07"]
    assert "has 'rome' (9 to 13) labelled 'name'" in found["x-20"]


def test_neighbouring_words_that_are_wrong_alike_are_one_piece() -> None:
    parts = texts({9: ()})
    (first, second) = suspicious_parts(TASK, parts)
    assert {first.ids, second.ids} == {("x-09",)}, "a word of another kind is between them"
    every = {number: (Span(0, 4, "name"), Span(5, 8, "name"), Span(9, 13, "name")) for number in (3, 30)}
    joined = [each for each in suspicious_parts(TASK, texts(every)) if "labelled 'name'" in each.text]
    assert {each.ids[0] for each in joined} == {"x-03", "x-30"}


def test_pieces_without_fault_and_texts_without_pieces_have_no_findings() -> None:
    assert suspicious_parts(TASK, texts({})) == []
    assert suspicious_parts(TASK, texts(dict.fromkeys(range(60), ()))) == []


def images(masks: dict[int, np.ndarray], *, labelled: bool = True) -> Parts:
    """40 images of a square somewhere, whose cells know whether they are in it; some with other masks."""
    examples, vectors = [], []
    for number in range(40):
        places_HW = np.zeros((24, 24), np.uint8)
        top, left = CHANCE.integers(0, 14, 2)
        places_HW[top : top + 10, left : left + 10] = 1
        shares_HW = places_HW.reshape(6, 4, 6, 4).mean(axis=(1, 3))
        features = np.stack((shares_HW, 1 - shares_HW), axis=2) + CHANCE.standard_normal((6, 6, 2)) * 0.2
        given = masks.get(number, places_HW) if labelled else np.full_like(places_HW, UNLABELLED)
        examples.append(example(number, "", Mask.of(given), "mask"))
        vectors.append(features.astype(np.float32))
    return Parts(examples=tuple(examples), offsets=((),) * 40, vectors=tuple(vectors))


def test_masks_that_lie_elsewhere_are_inside_out_or_have_nothing_are_found() -> None:
    elsewhere, inside_out = np.zeros((24, 24), np.uint8), np.ones((24, 24), np.uint8)
    elsewhere[:, :3] = 1
    inside_out[8:16, 8:16] = 0
    wrong = {4: elsewhere, 9: inside_out, 30: np.zeros((24, 24), np.uint8)}
    found = {each.ids[0]: each.text for each in suspicious_parts(MASKS, images(wrong))}
    assert set(wrong) <= {int(name[2:]) for name in found}
    assert len(found) <= 5
    assert "agrees by" in found["x-04"]
    assert "has a mask without 'glyph'" in found["x-30"]


def test_masks_without_fault_and_masks_without_labels_have_no_findings() -> None:
    assert len(suspicious_parts(MASKS, images({}))) <= 1
    assert suspicious_parts(MASKS, images({}, labelled=False)) == []


def test_pixels_without_a_label_do_not_count() -> None:
    pixels_HW = np.array([[0, 1, UNLABELLED, UNLABELLED]], np.uint8)
    shares_HWL = cell_shares(Mask.of(pixels_HW), 2, (1, 2))
    assert shares_HWL[0, 0].tolist() == [0.5, 0.5]
    assert np.isnan(shares_HWL[0, 1]).all()


def test_agreement_is_a_correlation_and_none_where_nothing_varies() -> None:
    given_HW = np.array([[0.0, 1.0, 0.5]])
    assert agreement(given_HW, 3 - given_HW) == pytest.approx(-1)
    assert np.isnan(agreement(given_HW, np.ones((1, 3))))
