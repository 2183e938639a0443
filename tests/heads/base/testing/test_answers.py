import numpy as np
import pytest

from heads.base.testing.answers import agree, fits, read, score_of
from zoo.answers import (
    Classification,
    Decoded,
    Embedding,
    Multilabel,
    Regression,
    Segmentation,
    Span,
    Tagging,
)
from zoo.masks import Mask

REFUND = Classification(label="refund", scores={"refund": 0.9, "praise": 0.1})
PRAISE = Classification(label="praise", scores={"refund": 0.4, "praise": 0.6})
BOTH = Multilabel(labels=("billing", "app"), scores={"billing": 0.8, "app": 0.7, "returns": 0.1})
FIVE = Regression(value=5.0, low=0, high=10)
DANA = Tagging(spans=(Span(label="person", start=0, end=4, text="Dana", score=0.8),))
MOVED = Tagging(spans=(Span(label="person", start=2, end=6, text="Dona", score=0.6),))
EAST, NORTH = Embedding(vector=(1.0, 0.0)), Embedding(vector=(0.0, 1.0))


def segmented(*pixels: int) -> Segmentation:
    mask = Mask.of(np.array([pixels], np.uint8))
    return Segmentation(mask=mask, shares=mask.shares(("ground", "glyph")))


@pytest.mark.parametrize("answer", [REFUND, BOTH, FIVE, DANA, EAST, segmented(0, 1)])
def test_every_kind_of_answer_agrees_with_itself_and_can_be_read(answer: Decoded) -> None:
    assert agree(answer, answer)
    assert read(answer)


def test_labels_decide_whether_answers_agree_and_scores_do_not() -> None:
    assert agree(REFUND, Classification(label="refund", scores={"refund": 0.5, "praise": 0.5}))
    assert not agree(REFUND, PRAISE)
    assert not agree(BOTH, Multilabel(labels=("billing",), scores=BOTH.scores))


def test_spans_agree_by_their_labels_since_changes_move_them() -> None:
    assert agree(DANA, MOVED)
    assert not agree(DANA, Tagging(spans=()))


def test_vectors_and_masks_may_differ_by_so_much() -> None:
    assert not agree(EAST, NORTH, within=0.9)
    assert agree(EAST, NORTH, within=1.0)
    assert not agree(segmented(0, 1), segmented(1, 1), within=0.4)
    assert agree(segmented(0, 1), segmented(1, 1), within=0.5)
    assert not agree(segmented(0, 1), segmented(0, 1, 1), within=1.0), "masks of two sizes never agree"


def test_expectations_are_written_as_labels_are() -> None:
    assert fits(REFUND, "refund")
    assert not fits(REFUND, "praise")
    assert fits(BOTH, ["app", "billing"])
    assert not fits(BOTH, ["app"])
    assert fits(FIVE, (0, 5))
    assert not fits(FIVE, (5.5, 10))
    assert fits(DANA, {"Dana": "person"})
    assert not fits(DANA, {})
    assert fits(EAST, lambda answer: isinstance(answer, Embedding))


@pytest.mark.parametrize(
    ("answer", "expected"), [(REFUND, ["refund"]), (BOTH, "app"), (FIVE, 5.0), (DANA, "person"), (EAST, "x")]
)
def test_an_expectation_of_another_kind_is_an_error_and_not_a_failure(answer: Decoded, expected: object) -> None:
    with pytest.raises(TypeError, match="cannot be compared with"):
        fits(answer, expected)  # type: ignore[arg-type]


def test_the_score_of_a_label_or_the_value() -> None:
    assert score_of(REFUND, "praise") == 0.1
    assert score_of(FIVE, "value") == 5.0
    assert score_of(DANA, "person") == 0.8
    assert score_of(DANA, "email") == 0.0
    assert score_of(segmented(0, 1), "glyph") == 0.5
    with pytest.raises(ValueError, match="Did you mean 'returns'"):
        score_of(BOTH, "return")
