"""Answers that say how unsure they are, in the manifest and decoded."""

from typing import Any

import numpy as np
import pytest

from zoo.answers import Classification, Multilabel, Regression, decode
from zoo.errors import InvalidOutput
from zoo.manifest import ClassifyAnswer, MultilabelAnswer, RegressAnswer
from zoo.preprocessing import Row

ROW = Row(tensors={}, length=1, digest="")
SCORES = np.array([0.75, 0.25], np.float32)
VALUES = np.array([7.5], np.float32)
UNSURE = np.array([0.25], np.float32)
NAMED = "uncertainty_N1"


def decoded(answer: Any, **outputs: np.ndarray) -> Any:
    return decode(answer, outputs, ROW)


def test_an_uncertainty_stands_beside_scores_and_values() -> None:
    classify = ClassifyAnswer(labels=("a", "b"), uncertainty=NAMED)
    multilabel = MultilabelAnswer(labels=("a", "b"), thresholds=(0.5, 0.5), uncertainty=NAMED)
    regress = RegressAnswer(low=0, high=10, uncertainty=NAMED)
    scores = {"a": 0.75, "b": 0.25}
    assert decoded(classify, scores_NC=SCORES, uncertainty_N1=UNSURE) == Classification(
        label="a", scores=scores, uncertainty=0.25
    )
    assert decoded(multilabel, scores_NC=SCORES, uncertainty_N1=UNSURE) == Multilabel(
        labels=("a",), scores=scores, uncertainty=0.25
    )
    assert decoded(regress, values_N1=VALUES, uncertainty_N1=UNSURE) == Regression(
        value=7.5, low=0, high=10, uncertainty=0.25
    )


def test_a_head_that_does_not_say_has_none_whatever_else_it_gives() -> None:
    answer = ClassifyAnswer(labels=("a", "b"))
    assert decoded(answer, scores_NC=SCORES, uncertainty_N1=UNSURE).uncertainty is None


def test_an_uncertainty_that_is_no_number_is_no_answer() -> None:
    answer = RegressAnswer(low=0, high=10, uncertainty=NAMED)
    with pytest.raises(InvalidOutput, match=r"Output 'uncertainty_N1' holds a NaN"):
        decoded(answer, values_N1=VALUES, uncertainty_N1=np.array([np.nan], np.float32))


def test_manifests_of_heads_that_do_not_say_keep_their_digest() -> None:
    answer = RegressAnswer(low=0, high=10)
    assert answer.model_dump(mode="json") == {"kind": "regress", "output": "values_N1", "low": 0.0, "high": 10.0}
    named = answer.model_copy(update={"uncertainty": NAMED})
    assert RegressAnswer.model_validate(named.model_dump(mode="json")) == named
    assert named.content_digest() != answer.content_digest()
