"""Which side of a split alias a caller is on."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.plan import AliasTarget, build_plan
from serving.traffic import share_of
from tests.support.fake_runtime import served, stage, stage_names

BODY = ["body/0", "body/1"]
LIVE = served("intent", [*BODY, "intent"])
CANARY = served("intent", [*BODY, "better"], number=2, aliases={})
SHADOW = served("intent", [*BODY, "other"], number=3, aliases={})
CALLERS = [f"caller {number}" for number in range(10_000)]


def target(percent: int) -> AliasTarget:
    return AliasTarget(head="intent", alias="prod", epoch=4, live=LIVE, canary=CANARY, canary_percent=percent)


def on_canary(percent: int) -> set[str]:
    return {caller for caller in CALLERS if target(percent).side(caller) is CANARY}


@pytest.mark.parametrize("percent", [1, 10, 50, 99])
def test_a_canary_answers_its_share_of_the_callers(percent: int) -> None:
    expected, deviation = 100 * percent, sqrt(len(CALLERS) * percent / 100 * (1 - percent / 100))
    assert abs(len(on_canary(percent)) - expected) < 4 * deviation


@given(st.text(), st.integers(1, 99))
def test_a_caller_stays_on_one_side(key: str, percent: int) -> None:
    assert target(percent).side(key) is target(percent).side(key)


@given(st.text(), st.integers(1, 98))
def test_who_is_on_the_canary_stays_there_when_it_grows(key: str, percent: int) -> None:
    if target(percent).side(key) is CANARY:
        assert target(percent + 1).side(key) is CANARY


def test_two_heads_split_their_callers_independently() -> None:
    intent = [share_of("intent", "prod", caller) < 0.5 for caller in CALLERS]
    urgency = [share_of("urgency", "prod", caller) < 0.5 for caller in CALLERS]
    both = sum(one and other for one, other in zip(intent, urgency, strict=True))
    assert abs(both - 2500) < 4 * sqrt(10_000 * 0.25 * 0.75)


def test_parts_of_a_name_do_not_run_into_each_other() -> None:
    assert share_of("a", "bc", "d") != share_of("ab", "c", "d")


def test_a_split_alias_resolves_by_who_asks_and_a_number_does_not() -> None:
    versions = (LIVE, CANARY, SHADOW)
    stages = {each.digest: each for version in versions for each in map(stage, stage_names(version))}
    plan = build_plan(
        versions,
        stages,
        targets=[
            AliasTarget(
                head="intent", alias="prod", epoch=4, live=LIVE, canary=CANARY, canary_percent=50, shadows=(SHADOW,)
            )
        ],
    )
    sides = {plan.resolve("intent", "", caller)[0] for caller in CALLERS[:100]}
    assert sides == {LIVE, CANARY}
    assert {plan.resolve("intent", "prod", caller)[1:] for caller in CALLERS[:100]} == {("prod", 4)}
    assert {plan.resolve("intent", "1", caller)[0] for caller in CALLERS[:100]} == {LIVE}
    assert plan.resolve("intent", "2") == (CANARY, "", 0)
    assert plan.shadows(LIVE, "prod") == plan.shadows(CANARY, "prod") == (SHADOW,)
    assert plan.shadows(LIVE, "") == ()
