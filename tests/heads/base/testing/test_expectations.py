from collections.abc import Sequence

import pytest

from heads.base.testing import (
    ExpectationMissed,
    append,
    casing,
    directional,
    invariance,
    minimum_functionality,
    typos,
)
from zoo.answers import Classification, Decoded, Regression


def loud(inputs: Sequence[str | bytes]) -> list[Decoded]:
    """Answer how loud a text is: a head that minds capitals and nothing else."""
    found = [str(raw).isupper() for raw in inputs]
    return [Classification(label="loud" if up else "calm", scores={"loud": up * 0.9, "calm": 0.5}) for up in found]


def length(inputs: Sequence[str | bytes]) -> list[Decoded]:
    return [Regression(value=float(len(raw)), low=0, high=100) for raw in inputs]


TEXTS = ["Where is my parcel?", "It never came.", "OH NO"]


def test_simple_inputs_with_the_right_answer_hold_and_their_rate_has_an_interval() -> None:
    rate = minimum_functionality(loud, TEXTS[:2], "calm")
    assert (rate.held, rate.of) == (2, 2)
    assert 0.3 < rate.interval[0] < rate.interval[1] == 1.0


def test_a_wrong_answer_is_shown_with_its_input() -> None:
    with pytest.raises(ExpectationMissed) as missed:
        minimum_functionality(loud, TEXTS, "calm", at_least=0.9)
    assert str(missed.value).splitlines() == [
        "Should be answered 'calm'.",
        "Found 0.667 (2 of 3; 95 % interval 0.208 to 0.939), expected at least 0.9. The others:",
        "  input  answer",
        "  OH NO  loud 0.90",
    ]


def test_as_many_as_asked_for_are_enough() -> None:
    assert minimum_functionality(loud, TEXTS, "calm", at_least=2 / 3).held == 2


def test_a_change_that_means_nothing_may_not_change_the_answer() -> None:
    assert invariance(loud, TEXTS, typos(seed=0)).share == 1.0
    with pytest.raises(ExpectationMissed, match="Should be answered as before after casing upper") as missed:
        invariance(loud, TEXTS, casing("upper"))
    assert "  Where is my parcel?  WHERE IS MY PARCEL?  calm 0.50  loud 0.90" in str(missed.value).splitlines()


def test_inputs_that_a_change_leaves_alone_are_not_counted() -> None:
    assert invariance(loud, [*TEXTS, "to be"], typos(seed=0)).of == 2
    with pytest.raises(ValueError, match="None of 1 inputs is different after typos"):
        invariance(loud, ["to be"], typos(seed=0))


def test_each_of_several_changes_is_applied_alone() -> None:
    assert invariance(loud, ["hello there"], typos(seed=0), append("!")).of == 2


def test_a_value_may_move_by_so_much_and_no_more() -> None:
    assert invariance(length, TEXTS, append("ab"), within=2.0).share == 1.0
    with pytest.raises(ExpectationMissed):
        invariance(length, TEXTS, append("ab"), within=1.9)


def test_a_change_that_means_something_must_move_the_score_its_way() -> None:
    assert directional(loud, ["oh no"], casing("upper"), rises="loud").share == 1.0
    with pytest.raises(ExpectationMissed, match="'loud' should fall by more than 0 after casing upper") as missed:
        directional(loud, ["oh no"], casing("upper"), falls="loud")
    assert "oh no  OH NO    0.000  0.900" in str(missed.value)


def test_standing_still_is_no_rise_unless_a_little_the_wrong_way_is_allowed() -> None:
    with pytest.raises(ExpectationMissed):
        directional(loud, ["oh no"], append("?"), rises="loud")
    assert directional(loud, ["oh no"], append("?"), rises="loud", by=-0.01).share == 1.0
    assert directional(length, TEXTS, append("ab"), rises="value", by=1.5).of == 3


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: minimum_functionality(loud, [], "calm"), "at least one input"),
        (lambda: minimum_functionality(loud, "a text", "calm"), "a list of at least one input"),
        (lambda: minimum_functionality(loud, TEXTS, "calm", at_least=90), "a share from 0 to 1"),
        (lambda: directional(loud, TEXTS, append("!")), "either rises= or falls="),
        (lambda: directional(loud, TEXTS, append("!"), rises="lout"), "Did you mean 'loud'"),
    ],
)
def test_a_test_that_would_test_nothing_is_refused(wrong: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        wrong()  # type: ignore[operator]


def test_of_many_counterexamples_the_first_are_shown_and_the_others_counted() -> None:
    with pytest.raises(ExpectationMissed) as missed:
        minimum_functionality(loud, [f"text {number}" for number in range(40)], "loud")
    assert str(missed.value).splitlines()[-1] == "  … and 28 more"
