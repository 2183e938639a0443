import asyncio
import logging
from collections import Counter

import numpy as np
import pytest

from serving.handlers.asked import Asked
from serving.handlers.asking import Answered
from serving.handlers.shadowing import Shadowing, difference
from serving.plan import ServedVersion
from serving.statistics import ShadowOutcome
from tests.support.fake_runtime import PREPROCESSING, row, served
from zoo.answers import Classification, Decoded, Embedding, Multilabel, Regression, Segmentation, Span, Tagging
from zoo.masks import Mask

BODY = ["body/0", "body/1"]
LIVE = served("intent", [*BODY, "intent"], number=7)
SHADOW = served("intent", [*BODY, "better"], number=8, aliases={})
ASKED = Asked(served=LIVE, alias="prod", epoch=3, shadows=(SHADOW,))


def classified(label: str) -> Classification:
    return Classification(label=label, scores={})


def tagged(*spans: tuple[str, int, int]) -> Tagging:
    return Tagging(
        spans=tuple(Span(label=label, start=start, end=end, text="secret", score=0.5) for label, start, end in spans)
    )


def segmented(*places: int, width: int = 200) -> Segmentation:
    """Return a mask of 200 pixels, with label 1 in some places."""
    pixels = bytes(int(place in places) for place in range(200))
    return Segmentation(mask=Mask(height=200 // width, width=width, pixels=pixels), shares={})


@pytest.mark.parametrize(
    ("live", "shadow", "expected"),
    [
        (classified("refund"), classified("refund"), ""),
        (classified("refund"), classified("greeting"), "'refund' became 'greeting'"),
        (Multilabel(labels=("a", "b"), scores={}), Multilabel(labels=("b", "a"), scores={}), ""),
        (Multilabel(labels=("a",), scores={}), Multilabel(labels=(), scores={}), "['a'] became []"),
        (Regression(value=5.0, low=0, high=10), Regression(value=5.09, low=0, high=10), ""),
        (Regression(value=5.0, low=0, high=10), Regression(value=5.2, low=0, high=10), "5 became 5.2"),
        (tagged(("person", 0, 3)), tagged(("person", 0, 3)), ""),
        (tagged(("person", 0, 3)), tagged(("person", 0, 4)), "[('person', 0, 3)] became [('person', 0, 4)]"),
        (classified("refund"), tagged(), "Classification became Tagging"),
        (Embedding(vector=(1.0, 0.0)), Embedding(vector=(0.995, 0.1)), ""),
        (Embedding(vector=(1.0, 0.0)), Embedding(vector=(0.6, 0.8)), "a vector turned; the cosine is 0.600"),
        (Embedding(vector=(1.0, 0.0)), Embedding(vector=(0.6, 0.8, 0.0)), "2 numbers became 3"),
        (segmented(), segmented(7, 9), ""),
        (segmented(), segmented(7, 8, 9), "1.5% of the pixels have another label"),
        (segmented(), segmented(width=100), "200 × 1 pixels became 100 × 2"),
    ],
)
def test_answers_are_compared_by_what_they_say(live: Decoded, shadow: Decoded, expected: str) -> None:
    assert difference(live, shadow) == expected


class Judge:
    """Shadowing with a clock that stands, and what it counted."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.counted: Counter[tuple[str, ShadowOutcome]] = Counter()
        self.shadowing = Shadowing(self.count, lambda: self.now_s)

    def count(self, version: ServedVersion, outcome: ShadowOutcome) -> None:
        self.counted[str(version), outcome] += 1

    def judge(self, live: list[float], shadow: list[float] | None, asked: Asked = ASKED) -> None:
        outputs = {LIVE.digest: {"total_N1": np.array(live, np.float32)}}
        if shadow is not None:
            outputs[SHADOW.digest] = {"total_N1": np.array(shadow, np.float32)}
        answered = Answered(outputs=outputs, rows={PREPROCESSING.content_digest(): row(1, 2)})

        async def run() -> None:
            self.shadowing.compare_soon([asked], [answered])
            assert not self.counted, "the answer goes first"
            await asyncio.sleep(0)

        self.counted.clear()
        asyncio.run(run())


@pytest.mark.parametrize(
    ("live", "shadow", "outcome"),
    [
        ([0.9, 0.1], [0.8, 0.2], "agreed"),
        ([0.9, 0.1], [0.2, 0.8], "disagreed"),
        ([0.9, 0.1], [np.nan, 0.8], "failed"),
        ([0.9, 0.1], None, "failed"),
    ],
)
def test_every_row_of_a_shadow_is_counted(
    live: list[float], shadow: list[float] | None, outcome: ShadowOutcome
) -> None:
    judge = Judge()
    judge.judge(live, shadow)
    assert judge.counted == {("intent@8", outcome): 1}


def test_a_live_answer_that_is_none_says_nothing_of_the_shadow() -> None:
    judge = Judge()
    judge.judge([np.nan, 0.1], [0.9, 0.1])
    assert not judge.counted


def test_a_request_without_shadows_costs_nothing() -> None:
    judge = Judge()
    judge.judge([0.9, 0.1], None, Asked(served=LIVE, alias="prod", epoch=3))
    assert not judge.counted


def test_few_disagreements_are_logged_and_none_with_the_input(caplog: pytest.LogCaptureFixture) -> None:
    judge = Judge()
    with caplog.at_level(logging.INFO, "serving.shadow"):
        for _ in range(3):
            judge.judge([0.9, 0.1], [0.2, 0.8])
        judge.now_s = 1.0
        judge.judge([0.9, 0.1], [0.2, 0.8])
    first, second = (record.getMessage() for record in caplog.records)
    said = "difference=\"'no' became 'yes'\" not_logged=0"
    assert first == f"shadow=intent@8 live=intent@7 alias=prod input={row(1, 2).digest} {said}"
    assert second.endswith("not_logged=2")


def test_a_tagged_text_is_not_quoted() -> None:
    assert "secret" not in difference(tagged(("person", 0, 3)), tagged())
