from collections.abc import Sequence
from dataclasses import replace
from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.batching import Decision, Limits, Priority, Queues, decide
from serving.batching.filling import Stop
from serving.batching.policy import Reason
from tests.support.waiting import Waiting, flat_costs

CPU = flat_costs()
GPU = flat_costs(fixed_s=0.004, per_token_s=0.0000023)


def queues_of(rows: Sequence[Waiting], limits: Limits | None = None, *, start: str = "root") -> Queues[Waiting]:
    queues = Queues[Waiting](limits or Limits(), CPU)
    for row in rows:
        queues.add(start, row)
    return queues


def rows_of(lengths: Sequence[int], **fields: object) -> list[Waiting]:
    return [Waiting(length=length, arrived_s=index * 1e-6, **fields) for index, length in enumerate(lengths)]  # type: ignore[arg-type]


def choose(rows: Sequence[Waiting], limits: Limits | None = None, now_s: float = 1.0) -> Decision[Waiting]:
    limits = limits or Limits()
    return decide(queues_of(rows, limits), now_s, limits, CPU)


def lengths_of(rows: Sequence[Waiting]) -> list[int]:
    return [row.length for row in rows]


limits_strategy = st.builds(
    Limits,
    max_rows=st.integers(1, 12),
    bucket_tokens=st.integers(1, 16),
    max_padding=st.floats(0, 0.9),
    target_efficiency=st.floats(0.1, 1.0),
)


@st.composite
def waiting_rows(draw: st.DrawFn) -> list[tuple[str, Waiting]]:
    """Draw rows of up to three starts and three teams, each with an arrival time of its own."""
    drawn = draw(
        st.lists(
            st.tuples(
                st.integers(1, 128),
                st.sampled_from("abc"),
                st.sampled_from(["cs", "hr", "it"]),
                st.sampled_from(list(Priority)),
                st.sampled_from([inf, inf, 99.0, 100.01, 100.1, 101.0]),
            ),
            max_size=40,
        )
    )
    return [
        (start, Waiting(length=length, arrived_s=index * 0.1, team=team, priority=priority, deadline_s=deadline_s))
        for index, (length, start, team, priority, deadline_s) in enumerate(drawn)
    ]


def filled(rows: Sequence[tuple[str, Waiting]], limits: Limits) -> Queues[Waiting]:
    queues = Queues[Waiting](limits, CPU)
    for start, row in rows:
        queues.add(start, row)
    return queues


def test_nothing_leaves_where_nothing_waits() -> None:
    assert choose([]) == Decision()


def test_a_row_alone_leaves_at_once() -> None:
    (row,) = rows = rows_of([7])
    decision = choose(rows)
    assert decision.leave == (row,)
    assert (decision.reason, decision.stop) == (Reason.TURN, Stop.NO_MORE_ROWS)
    assert decision.predicted_s == pytest.approx(CPU.path_s(("body",), 1, 7))
    assert decision.charges == {"cs": decision.predicted_s}


def test_a_row_of_another_length_closes_no_batch() -> None:
    assert lengths_of(choose(rows_of([5, 120, 6, 118, 5])).leave) == [5, 6, 5]


def test_where_a_batch_costs_little_by_itself_a_few_rows_are_enough() -> None:
    decision = choose(rows_of([22] * 100))
    assert decision.stop is Stop.EFFICIENT
    assert 4 <= len(decision.leave) <= 8


def test_where_a_batch_costs_much_by_itself_it_is_large() -> None:
    limits = Limits()
    decision = decide(queues_of(rows_of([22] * 100)), 1.0, limits, GPU)
    assert decision.stop is Stop.EFFICIENT
    assert len(decision.leave) > 48


def test_shorter_rows_join_the_nearest_first() -> None:
    decision = choose(rows_of([64, 8, 60, 62]))
    assert lengths_of(decision.leave) == [64, 62, 60]
    assert decision.stop is Stop.COST


def test_longer_rows_join_where_padding_costs_less_than_a_batch_of_their_own() -> None:
    assert lengths_of(choose(rows_of([10, 12, 12])).leave) == [10, 12, 12]
    assert lengths_of(choose(rows_of([10, 40])).leave) == [10]


def test_rows_of_another_start_wait_for_a_batch_of_their_own() -> None:
    first, second = rows_of([7, 7])
    queues = filled([("a", first), ("b", second)], Limits())
    assert decide(queues, 1.0, Limits(), CPU).leave == (first,)


def test_a_row_whose_deadline_has_come_is_refused_and_not_run() -> None:
    expired, alive = Waiting(deadline_s=4.0), Waiting(arrived_s=1.0)
    decision = choose([expired, alive], now_s=4.0)
    assert (decision.leave, decision.expired) == ((alive,), (expired,))


def test_a_row_that_cannot_be_answered_in_time_any_more_is_refused_and_not_run() -> None:
    row = Waiting(length=100, deadline_s=4.01)
    assert choose([row], now_s=4.0) == Decision(expired=(row,))
    assert choose([row], now_s=3.9).leave == (row,)


def test_a_row_that_was_given_up_is_not_run_where_costs_have_fallen_since() -> None:
    given_up, alive = Waiting(length=22, deadline_s=4.003), Waiting(length=22)
    decision = decide(queues_of([given_up, alive]), 4.0, Limits(), flat_costs(fixed_s=0.0, per_token_s=1e-6))
    assert (decision.leave, decision.expired) == ((alive,), (given_up,))


def test_a_row_leaves_before_older_ones_if_it_could_not_wait_for_them() -> None:
    older = rows_of([60, 60, 60])
    hurried = Waiting(length=5, arrived_s=0.5, deadline_s=1.01)
    decision = choose([*older, hurried])
    assert decision.leave[0] is hurried
    assert decision.reason is Reason.DEADLINE


def test_a_row_that_can_wait_waits_for_its_turn() -> None:
    older = rows_of([60, 60, 60])
    decision = choose([*older, Waiting(length=5, arrived_s=0.5, deadline_s=2.0)])
    assert decision.leave[0] is older[0]
    assert decision.reason is Reason.TURN


def test_a_batch_stays_as_short_as_the_deadlines_of_its_rows() -> None:
    row = Waiting(length=22, deadline_s=1.009)
    decision = choose([row, *rows_of([22] * 20)])
    assert decision.leave[0] is row
    assert decision.predicted_s <= 0.009
    assert decision.stop is Stop.TIME


def test_a_batch_is_not_predicted_to_run_longer_than_allowed() -> None:
    limits = Limits(max_batch_s=0.01)
    assert len(choose(rows_of([22] * 20), limits).leave) == 2
    assert len(choose(rows_of([200] * 20), limits).leave) == 1


def test_a_batch_has_no_more_rows_than_allowed() -> None:
    decision = choose(rows_of([22] * 20), Limits(max_rows=3, target_efficiency=1.0))
    assert (len(decision.leave), decision.stop) == (3, Stop.FULL)


def test_urgent_rows_of_a_team_go_first() -> None:
    normal, low, high = (Waiting(length=22 * (place + 1), priority=Priority(place)) for place in (1, 2, 0))
    queues = queues_of([low, normal, high])
    order = []
    while leave := decide(queues, 0.0, Limits(), CPU).leave:
        order.append(leave[0])
        queues.discard(leave)
    assert order == [high, normal, low]


def test_a_row_that_waited_long_counts_as_more_urgent() -> None:
    limits = Limits(ageing_s=0.5)
    low, high = Waiting(priority=Priority.LOW, length=80), Waiting(arrived_s=1.0, priority=Priority.HIGH)
    assert choose([low, high], limits, now_s=1.0).leave == (low,)
    assert choose([low, high], Limits(ageing_s=5.0), now_s=1.0).leave == (high,)


def test_priority_takes_nothing_from_another_team() -> None:
    rows = [Waiting(length=22, team=team, priority=Priority(team == "cs")) for team in ("cs", "hr") * 40]
    queues = queues_of(rows)
    served = {"cs": 0, "hr": 0}
    for _ in range(4):
        decision = decide(queues, 0.0, Limits(), CPU)
        for row in decision.leave:
            served[row.team] += 1
        queues.settle(decision, 0.0)
    assert abs(served["cs"] - served["hr"]) <= 1


def test_teams_take_turns_in_proportion_to_their_weights() -> None:
    limits = Limits(team_weights={"cs": 3.0})
    queues = queues_of([Waiting(length=22, team=team) for team in ("cs", "hr") * 200], limits)
    served = {"cs": 0.0, "hr": 0.0}
    for _ in range(30):
        decision = decide(queues, 0.0, limits, CPU)
        for team, charge_s in decision.charges.items():
            served[team] += charge_s
        queues.settle(decision, 0.0)
    assert served["cs"] / served["hr"] == pytest.approx(3.0, rel=0.1)


def test_shares_are_counted_in_work_and_not_in_rows() -> None:
    rows = [Waiting(length=100 if team == "cs" else 10, team=team) for team in ("cs", "hr") * 200]
    queues = queues_of(rows)
    served = {"cs": 0, "hr": 0}
    for _ in range(30):
        decision = decide(queues, 0.0, Limits(), CPU)
        for row in decision.leave:
            served[row.team] += 1
        queues.settle(decision, 0.0)
    assert served["hr"] / served["cs"] > 5


def test_a_team_that_comes_back_has_saved_up_no_more_than_a_burst() -> None:
    limits = Limits(burst_s=0.05, memory_s=0.5)
    queues = queues_of([Waiting(length=22, team="cs") for _ in range(400)], limits)
    for _ in range(20):
        queues.settle(decide(queues, 0.0, limits, CPU), 0.0)
    for _ in range(100):
        queues.add("root", Waiting(length=22, team="hr", arrived_s=10.0))
    served_s, others = 0.0, 0
    while not others:
        decision = decide(queues, 10.0, limits, CPU)
        served_s += decision.charges.get("hr", 0.0)
        others = sum(row.team == "cs" for row in decision.leave)
        queues.settle(decision, 0.0)
    assert served_s <= limits.burst_s + limits.max_batch_s


def test_a_batch_is_filled_with_anybody_s_rows_that_fit() -> None:
    rows = [Waiting(length=22, team=f"team {index}") for index in range(5)]
    assert len(choose(rows).leave) == 5


def test_deciding_changes_nothing() -> None:
    queues = queues_of(rows_of([22, 5, 80, 22], deadline_s=9.0))
    assert decide(queues, 1.0, Limits(), CPU) == decide(queues, 1.0, Limits(), CPU)
    assert len(queues) == 4


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"max_rows": 0}, "max_rows must be at least 1; got 0"),
        ({"max_waiting_rows": 0}, "max_waiting_rows"),
        ({"bucket_tokens": 0}, "bucket_tokens"),
        ({"max_batch_s": 0.0}, "max_batch_s must be above 0"),
        ({"max_padding": 1.0}, "max_padding"),
        ({"target_efficiency": 0.0}, "target_efficiency"),
        ({"max_slowdown": 1.0}, "max_slowdown"),
        ({"team_weights": {"cs": 0}}, "team 'cs'"),
    ],
)
def test_limits_under_which_nothing_could_run_are_refused(changed: dict[str, float], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Limits(**changed)  # type: ignore[arg-type]


@given(waiting_rows(), limits_strategy)
def test_a_batch_holds_rows_of_one_start_none_twice_and_not_too_many(
    rows: list[tuple[str, Waiting]], limits: Limits
) -> None:
    leave = decide(filled(rows, limits), 100.0, limits, CPU).leave
    assert len(set(leave)) == len(leave) <= limits.max_rows
    assert len({start for start, row in rows if row in set(leave)}) <= 1


@given(waiting_rows(), limits_strategy)
def test_exactly_the_rows_that_cannot_be_answered_in_time_are_refused(
    rows: list[tuple[str, Waiting]], limits: Limits
) -> None:
    decision = decide(filled(rows, limits), 100.0, limits, CPU)
    hopeless = {row for _, row in rows if 100.0 + CPU.path_s(row.paths, 1, row.length) > row.deadline_s}
    assert set(decision.expired) == hopeless
    assert not hopeless & set(decision.leave)


@given(waiting_rows(), limits_strategy)
def test_something_leaves_whenever_something_can(rows: list[tuple[str, Waiting]], limits: Limits) -> None:
    decision = decide(filled(rows, limits), 100.0, limits, CPU)
    assert bool(decision.leave) == (len(decision.expired) < len(rows))


@given(waiting_rows(), limits_strategy)
def test_padding_counted_in_buckets_is_within_its_bound(rows: list[tuple[str, Waiting]], limits: Limits) -> None:
    rows = [(start, row) for start, row in rows if row.deadline_s == inf]
    buckets = [limits.bucket(row.length) for row in decide(filled(rows, limits), 100.0, limits, CPU).leave]
    padded = len(buckets) * max(buckets, default=0)
    assert padded - sum(buckets) <= limits.max_padding * padded + 1e-6


@given(waiting_rows(), limits_strategy)
def test_charges_add_up_to_what_the_batch_takes(rows: list[tuple[str, Waiting]], limits: Limits) -> None:
    decision = decide(filled(rows, limits), 100.0, limits, CPU)
    assert sum(decision.charges.values()) == pytest.approx(decision.predicted_s)
    assert set(decision.charges) == {row.team for row in decision.leave}


@given(waiting_rows(), limits_strategy)
def test_asking_again_and_again_runs_or_refuses_every_row_exactly_once(
    rows: list[tuple[str, Waiting]], limits: Limits
) -> None:
    queues = filled(rows, limits)
    gone: list[Waiting] = []
    while len(queues):
        decision = decide(queues, 100.0, limits, CPU)
        assert decision.leave or decision.expired
        gone += (*decision.leave, *decision.expired)
        queues.settle(decision, 0.0)
    assert len(gone) == len(set(gone)) == len(rows)


@settings(deadline=None)
@given(waiting_rows(), limits_strategy, st.sampled_from(list(Priority)))
def test_a_row_waits_for_a_bounded_number_of_batches_whatever_comes_after_it(
    rows: list[tuple[str, Waiting]], limits: Limits, priority: Priority
) -> None:
    limits = replace(limits, ageing_s=0.1)
    queues = filled([(start, row) for start, row in rows if row.deadline_s == inf], limits)
    patient = Waiting(length=64, arrived_s=10.0, priority=Priority.LOW)
    queues.add("a", patient)
    now_s = 10.0
    for _ in range(400):
        queues.add("a", Waiting(length=10, arrived_s=now_s, priority=priority))
        queues.add("b", Waiting(length=90, arrived_s=now_s, team="hr", priority=priority))
        decision = decide(queues, now_s, limits, CPU)
        queues.settle(decision, 0.0)
        if patient in decision.leave:
            return
        now_s += decision.predicted_s
    raise AssertionError("the row starves")


def test_one_long_row_is_no_flood_for_a_team_that_asks_for_a_short_one() -> None:
    long = [Waiting(length=120, team="cs", arrived_s=index * 1e-6) for index in range(2)]
    short = [Waiting(length=3, team=f"team-{index}", arrived_s=1e-3) for index in range(6)]
    queues = queues_of([*long, *short])
    assert not any(queues.is_flooded(row.team) for row in short)
    assert queues.courtesy_s("cs", 1.0) == inf
