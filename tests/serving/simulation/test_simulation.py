"""What the policy promises, in virtual time, with costs like those of a small text encoder on two cores."""

import random
from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching import Limits, Priority
from serving.simulation import Ask, ClosedLoop, Outcome, Truth, simulate
from serving.simulation.outcome import Fate
from serving.simulation.traffic import bursts, poisson
from serving.simulation.truth import NodeCost

CPU = NodeCost(0.0012, 0.000155)
GPU = NodeCost(0.004, 0.0000023)
TRUTH = Truth(default=CPU, noise=0.1)
SETTLED_S = 4.0
"""From when on the costs are known and the teams' habits too."""


def ragged(chance: random.Random) -> int:
    return min(139, max(3, round(chance.lognormvariate(2.8, 0.75))))


def even(chance: random.Random) -> int:
    return 22


def loop(team: str, callers: int, lengths: object = ragged, **fields: object) -> ClosedLoop:
    return ClosedLoop(like=Ask(team=team, **fields), callers=callers, lengths=lengths)  # type: ignore[arg-type]


def fate_count(outcome: Outcome, team: str, fate: Fate) -> int:
    return outcome.fates(team).get(fate, 0)


def test_the_same_seed_gives_the_same_batches() -> None:
    first, again = (simulate([loop("cs", 20)], TRUTH, Limits(), until_s=1.0, lanes=2, seed=7) for _ in range(2))
    assert first == again


def test_a_row_leaves_at_once_while_a_lane_is_idle() -> None:
    asks = [Ask(at_s=second * 1.0, team="cs", tokens=22) for second in range(20)]
    outcome = simulate(asks, Truth(default=CPU), Limits(), until_s=20.0)
    assert all(request.latency_s == pytest.approx(CPU.seconds(1, 22)) for request in outcome.requests)


def test_rows_gather_while_every_lane_is_busy() -> None:
    first, rest = Ask(team="cs", tokens=100), [Ask(at_s=0.001 * index, team="cs", tokens=22) for index in range(1, 5)]
    outcome = simulate([first, *rest], Truth(default=CPU), Limits(), until_s=1.0)
    assert [batch.rows for batch in outcome.batches] == [1, 4]


def test_a_second_lane_runs_a_batch_beside_the_first() -> None:
    asks = [Ask(at_s=0.001 * index, team="cs", tokens=22) for index in range(2)]
    outcome = simulate(asks, Truth(default=CPU), Limits(), until_s=1.0, lanes=2)
    assert [batch.began_s for batch in outcome.batches] == [0.0, 0.001]


def test_a_lane_is_never_idle_while_a_row_waits() -> None:
    asks = list(poisson(Ask(team="cs"), rate=200.0, until_s=5.0, lengths=ragged, seed=1))
    outcome = simulate(asks, TRUTH, Limits(), until_s=5.0)
    batches = sorted(outcome.batches, key=lambda batch: batch.began_s)
    for before, batch in pairwise(batches):
        if batch.waiting > batch.rows or before.waiting > before.rows:
            assert batch.began_s == pytest.approx(before.began_s + before.took_s)


def test_padding_is_little_where_many_rows_wait() -> None:
    outcome = simulate([loop("cs", 200)], TRUTH, Limits(), until_s=10.0)
    assert outcome.padding() < 0.1


def test_ragged_rows_run_nearly_as_fast_as_rows_without_padding_in_the_largest_batches_would() -> None:
    outcome = simulate([loop("cs", 64)], TRUTH, Limits(), until_s=15.0)
    ideal_s = CPU.seconds(64, 22) / 64 / 22
    assert outcome.useful_tokens(SETTLED_S) * ideal_s / (15.0 - SETTLED_S) > 0.85


def test_where_a_batch_costs_much_by_itself_batches_become_large() -> None:
    outcome = simulate([loop("cs", 200, even)], Truth(default=GPU, noise=0.1), Limits(), until_s=4.0)
    late = [batch.rows for batch in outcome.batches if batch.began_s > 2.0]
    assert sum(late) / len(late) > 40


@pytest.mark.parametrize(("lanes", "callers", "most"), [(1, 1, 2.0), (2, 1, 2.0), (2, 4, 2.0), (1, 4, 2.2)])
@pytest.mark.parametrize("lengths", [even, ragged])
def test_a_flood_at_most_doubles_the_p99_of_a_team_with_few_callers(
    lanes: int, callers: int, most: float, lengths: object
) -> None:
    # Four callers in a closed loop keep one lane busy by themselves: half of it is their share, which alone doubles it.
    assert slowdown([loop("light", callers, lengths)], lengths, lanes) <= most


@pytest.mark.parametrize("lanes", [1, 2])
def test_a_flood_at_most_doubles_the_p99_of_a_team_that_asks_at_random_for_a_fifth_of_the_device(lanes: int) -> None:
    rate = 0.2 * lanes / CPU.seconds(1, 22)
    asks = list(poisson(Ask(team="light"), rate=rate, until_s=20.0, lengths=ragged, seed=3))
    assert slowdown(asks, ragged, lanes) <= 2.0


def test_where_a_batch_costs_much_by_itself_a_flood_at_most_doubles_the_p99_too() -> None:
    assert slowdown([loop("light", 1)], ragged, 1, Truth(default=GPU, noise=0.1), until_s=8.0) <= 2.0


def slowdown(
    light: Iterable[Ask | ClosedLoop], lengths: object, lanes: int, truth: Truth = TRUTH, until_s: float = 20.0
) -> float:
    light = list(light)
    alone = simulate(light, truth, Limits(), until_s=until_s, lanes=lanes, seed=1)
    flooded = simulate([*light, loop("flood", 200, lengths)], truth, Limits(), until_s=until_s, lanes=lanes, seed=1)
    return flooded.latency_s("light", 0.99, SETTLED_S) / alone.latency_s("light", 0.99, SETTLED_S)


def test_what_a_small_team_leaves_others_use() -> None:
    flood, light = loop("flood", 200), loop("light", 1)
    alone = simulate([flood], TRUTH, Limits(), until_s=10.0)
    both = simulate([flood, light], TRUTH, Limits(), until_s=10.0)
    assert both.useful_tokens(SETTLED_S) > 0.85 * alone.useful_tokens(SETTLED_S)


def test_teams_that_all_have_much_waiting_share_by_weight_and_lose_no_speed() -> None:
    limits = Limits(team_weights={"gold": 2.0})
    one = simulate([loop("cs", 200)], TRUTH, limits, until_s=10.0)
    teams = simulate([loop("gold", 100), loop("lead", 100)], TRUTH, limits, until_s=10.0)
    gold, lead = (
        sum(request.ask.tokens for request in teams.of_team(team, SETTLED_S) if request.ended_s < 10.0)
        for team in ("gold", "lead")
    )
    assert gold / lead == pytest.approx(2.0, rel=0.15)
    assert teams.useful_tokens(SETTLED_S) > 0.95 * one.useful_tokens(SETTLED_S)


def test_urgent_rows_wait_less_and_patient_ones_do_not_starve() -> None:
    callers = [loop("cs", 20, priority=priority) for priority in Priority]
    outcome = simulate(callers, TRUTH, Limits(), until_s=10.0)
    waits = {
        priority: [each.latency_s for each in outcome.of_team("cs", SETTLED_S) if each.ask.priority is priority]
        for priority in Priority
    }
    means = [sum(waits[priority]) / len(waits[priority]) for priority in Priority]
    assert means[0] < means[1] < means[2]
    assert max(waits[Priority.LOW]) < 4 * Limits().ageing_s


@pytest.mark.parametrize("lanes", [1, 2])
def test_five_times_more_than_the_server_can_do_leaves_it_doing_what_it_can(lanes: int) -> None:
    like = Ask(team="cs", timeout_s=0.25)
    capacity = lanes / CPU.seconds(8, 22) * 8
    good = {
        load: simulate(
            poisson(like, rate=load * capacity, until_s=10.0, lengths=ragged, seed=2),
            TRUTH,
            Limits(),
            until_s=10.0,
            lanes=lanes,
        )
        for load in (0.8, 0.9, 1.0, 5.0)
    }
    peak = max(outcome.goodput(SETTLED_S) for outcome in good.values())
    assert good[5.0].goodput(SETTLED_S) >= 0.9 * peak
    ran = sum(batch.rows for batch in good[5.0].batches)
    assert fate_count(good[5.0], "cs", Fate.LATE) < 0.1 * ran


def test_refusals_come_when_the_request_does() -> None:
    asks = bursts(Ask(team="cs", timeout_s=0.1), rows=200, every_s=0.5, until_s=5.0, lengths=ragged, seed=1)
    outcome = simulate(asks, TRUTH, Limits(), until_s=5.0)
    refused = [each for each in outcome.requests if each.fate in (Fate.OVERLOADED, Fate.REFUSED)]
    assert refused
    assert all(each.latency_s == 0 for each in refused)


def test_a_flood_that_is_refused_does_not_get_the_other_team_refused() -> None:
    flood = list(poisson(Ask(team="flood", timeout_s=0.25), rate=2000.0, until_s=6.0, lengths=ragged, seed=2))
    light = list(poisson(Ask(team="light", timeout_s=0.25), rate=20.0, until_s=6.0, lengths=ragged, seed=3))
    outcome = simulate([*flood, *light], TRUTH, Limits(), until_s=6.0)
    fates = outcome.fates("light", 1.0)
    assert fates[Fate.ANSWERED] == sum(fates.values())


def test_predictions_are_near_the_truth_once_a_few_hundred_batches_ran() -> None:
    outcome = simulate([loop("cs", 30)], Truth(default=CPU, noise=0.1, cold=50.0), Limits(), until_s=15.0)
    errors = sorted(abs(each.predicted_s / each.took_s - 1) for each in outcome.batches if each.began_s > SETTLED_S)
    assert errors[len(errors) // 2] < 0.1  # the noise alone makes it 0.07
    assert errors[int(len(errors) * 0.95)] < 0.25


def test_rows_of_callers_who_left_cost_nothing() -> None:
    first = [Ask(at_s=0.01 * index, team="cs", tokens=22) for index in range(10)]
    asks = [Ask(at_s=1.0, team="cs", tokens=22, cancel_s=0.001) for _ in range(100)]
    outcome = simulate([*first, *asks], Truth(default=CPU), Limits(), until_s=1.0)
    assert [batch.began_s for batch in outcome.batches][10:] == [1.0]
    assert fate_count(outcome, "cs", Fate.CANCELLED) == 100


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        st.builds(
            Ask,
            at_s=st.floats(0, 1),
            team=st.sampled_from(["cs", "hr", "it"]),
            tokens=st.integers(1, 200),
            rows=st.integers(1, 5),
            priority=st.sampled_from(list(Priority)),
            timeout_s=st.sampled_from([0.005, 0.05, 0.5, float("inf")]),
            cancel_s=st.sampled_from([0.0, 0.01, 0.1, float("inf")]),
            start=st.sampled_from(["a", "b"]),
            paths=st.sampled_from([("body",), ("body", "head")]),
        ),
        max_size=80,
    ),
    st.integers(1, 3),
)
def test_every_request_ends_exactly_once_whatever_comes(asks: list[Ask], lanes: int) -> None:
    outcome = simulate(asks, replace(TRUTH, contention=0.5), Limits(max_waiting_rows=40), until_s=1.0, lanes=lanes)
    assert sorted(id(request.ask) for request in outcome.requests) == sorted(map(id, asks))
    ran = sum(batch.rows for batch in outcome.batches)
    answered = [request for request in outcome.requests if request.fate in (Fate.ANSWERED, Fate.LATE)]
    assert sum(request.ask.rows for request in answered) <= ran
