"""Courses: what trains when, how fast, and when it is over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base.recipe import Recipe
from heads.base.training.course import Course, Schedule, learning_rate_at


@given(steps=st.integers(1, 300), warm_up=st.floats(0, 0.9), schedule=st.sampled_from(["one_cycle", "cosine"]))
def test_a_cycle_rises_to_its_peak_and_then_falls(steps: int, warm_up: float, schedule: Schedule) -> None:
    rates = [learning_rate_at(step, steps, 2.0, schedule=schedule, warm_up=warm_up) for step in range(steps)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == 2.0
    assert min(rates) > 0
    if schedule == "cosine":
        assert top == 0


@given(steps=st.integers(1, 300), warm_up=st.floats(0, 0.9))
def test_a_constant_rate_stays_at_its_peak_after_the_warm_up(steps: int, warm_up: float) -> None:
    rates = [learning_rate_at(step, steps, 2.0, schedule="constant", warm_up=warm_up) for step in range(steps)]
    assert rates == sorted(rates)
    assert rates[-1] == 2.0
    assert sum(rate < 2.0 for rate in rates) <= max(1, round(warm_up * steps))


def test_layers_below_the_head_learn_more_slowly() -> None:
    course = Course(recipe=Recipe(learning_rate=0.1, layer_decay=0.5, schedule="constant", warm_up=0.0), deepest=2)
    assert [course.rate(1, 0, 5, depth) for depth in range(3)] == [0.1, 0.05, 0.025]


def test_after_probing_the_schedule_begins_anew() -> None:
    course = Course(recipe=Recipe(epochs=4, probe_epochs=3), deepest=1)
    probing = [course.rate(epoch, position, 5, 0) for epoch in (1, 2, 3) for position in range(5)]
    tuning = [course.rate(epoch, position, 5, 0) for epoch in (4, 5, 6, 7) for position in range(5)]
    assert probing == [learning_rate_at(step, 15, 1e-3) for step in range(15)]
    assert tuning == [learning_rate_at(step, 20, 1e-3) for step in range(20)]
    assert [course.begins_leg(epoch) for epoch in (1, 2, 4, 5)] == [True, False, True, False]
    assert course.epochs == 7


def test_what_is_averaged_is_learned_at_one_rate() -> None:
    course = Course(recipe=Recipe(epochs=8, swa=0.25), deepest=0)
    rates = [course.rate(epoch, position, 5, 0) for epoch in range(1, 9) for position in range(5)]
    averaged = [rate for epoch in range(1, 9) for rate in rates[5 * epoch - 5 : 5 * epoch] if course.averages(epoch)]
    assert len(averaged) == 10
    assert len(set(averaged)) == 1
    assert averaged[0] < rates[29]
    assert not course.stops(7, best_epoch=1)


@pytest.mark.parametrize(("best_epoch", "last"), [(1, 6), (4, 7)])
def test_patience_begins_when_everything_trains(best_epoch: int, last: int) -> None:
    course = Course(recipe=Recipe(epochs=50, patience=3, probe_epochs=1, unfreeze_every=1), deepest=2)
    assert next(epoch for epoch in range(1, 52) if course.stops(epoch, min(epoch, best_epoch))) == last
