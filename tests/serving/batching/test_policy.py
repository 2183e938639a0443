from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import Limits, Priority, decide


@dataclass(frozen=True, eq=False)
class Waiting:
    length: int = 1
    arrived_s: float = 0.0
    deadline_s: float = inf
    team: str = "cs"
    priority: Priority = Priority.NORMAL
    paths: tuple[str, ...] = ()


def queue_of(lengths: Sequence[int]) -> list[Waiting]:
    return [Waiting(length=length, arrived_s=float(index)) for index, length in enumerate(lengths)]


def lengths_of(rows: Sequence[Waiting]) -> list[int]:
    return [row.length for row in rows]


limits_strategy = st.builds(
    Limits,
    max_rows=st.integers(1, 12),
    bucket_tokens=st.integers(1, 16),
    max_padding=st.floats(0, 0.9),
)


@st.composite
def waiting_queues(draw: st.DrawFn) -> list[list[Waiting]]:
    """Draw the queues of up to three roots; every row has an arrival time of its own."""
    rows = draw(st.lists(st.tuples(st.integers(1, 128), st.integers(0, 2), st.booleans()), max_size=40))
    queues: list[list[Waiting]] = [[], [], []]
    for index, (length, root, hurried) in enumerate(rows):
        deadline_s = 100.0 if hurried else inf
        queues[root].append(Waiting(length=length, arrived_s=float(index), deadline_s=deadline_s))
    return [queue for queue in queues if queue]


def test_nothing_leaves_where_nothing_waits() -> None:
    assert decide(list[list[Waiting]](), 0.0, Limits()).leave == ()


def test_a_row_alone_leaves_at_once() -> None:
    (row,) = queue = queue_of([7])
    assert decide([queue], 0.0, Limits()).leave == (row,)


def test_a_row_of_another_bucket_closes_no_batch() -> None:
    queue = queue_of([5, 120, 6, 118, 7])
    assert lengths_of(decide([queue], 0.0, Limits(bucket_tokens=8)).leave) == [5, 6, 7]


def test_shorter_rows_join_from_long_to_short_while_padding_stays_within_its_bound() -> None:
    queue = queue_of([64, 8, 56, 40])
    decision = decide([queue], 0.0, Limits(bucket_tokens=8, max_padding=0.25))
    assert lengths_of(decision.leave) == [64, 56, 40]


def test_longer_rows_never_join_a_shorter_one() -> None:
    queue = queue_of([56, 64, 64])
    assert lengths_of(decide([queue], 0.0, Limits(bucket_tokens=8, max_padding=0.9)).leave) == [56]


def test_a_full_bucket_leaves_no_room_for_shorter_rows() -> None:
    queue = queue_of([64, 57, 64, 60])
    assert lengths_of(decide([queue], 0.0, Limits(bucket_tokens=8, max_rows=3)).leave) == [64, 57, 64]


def test_the_queue_with_the_oldest_row_goes_first() -> None:
    late = [Waiting(arrived_s=2.0), Waiting(arrived_s=3.0)]
    early = [Waiting(arrived_s=1.0)]
    assert decide([late, early], 5.0, Limits()).leave == tuple(early)


def test_a_row_whose_deadline_has_come_is_refused_and_not_run() -> None:
    expired, alive = Waiting(deadline_s=4.0), Waiting(arrived_s=1.0, deadline_s=4.5)
    decision = decide([[expired, alive]], 4.0, Limits())
    assert (decision.leave, decision.expired) == ((alive,), (expired,))


def test_an_expired_row_is_refused_in_whichever_queue_it_waits() -> None:
    oldest, expired = Waiting(), Waiting(arrived_s=1.0, deadline_s=2.0)
    assert decide([[oldest], [expired]], 3.0, Limits()).expired == (expired,)


@pytest.mark.parametrize(
    ("changed", "named"),
    [({"max_rows": 0}, "max_rows"), ({"max_waiting_rows": 0}, "max_waiting_rows"), ({"bucket_tokens": 0}, "bucket_")],
)
def test_limits_under_which_nothing_could_run_are_refused(changed: dict[str, int], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        Limits(**changed)


def test_a_padding_bound_of_the_whole_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="max_padding"):
        Limits(max_padding=1.0)


@given(waiting_queues(), limits_strategy, st.sampled_from([50.0, 100.0]))
def test_a_batch_holds_rows_of_one_queue_none_twice_and_not_too_many(
    queues: list[list[Waiting]], limits: Limits, now_s: float
) -> None:
    leave = decide(queues, now_s, limits).leave
    assert len(set(leave)) == len(leave) <= limits.max_rows
    assert not leave or any(set(leave) <= set(queue) for queue in queues)


@given(waiting_queues(), limits_strategy, st.sampled_from([50.0, 100.0]))
def test_exactly_the_expired_rows_are_refused(queues: list[list[Waiting]], limits: Limits, now_s: float) -> None:
    decision = decide(queues, now_s, limits)
    assert set(decision.expired) == {row for queue in queues for row in queue if row.deadline_s <= now_s}
    assert not set(decision.expired) & set(decision.leave)


@given(waiting_queues(), limits_strategy)
def test_the_oldest_row_of_all_always_leaves(queues: list[list[Waiting]], limits: Limits) -> None:
    rows = [row for queue in queues for row in queue]
    leave = decide(queues, 0.0, limits).leave
    assert not rows or min(rows, key=lambda row: row.arrived_s) in leave


@given(waiting_queues(), limits_strategy)
def test_padding_counted_in_buckets_is_within_its_bound(queues: list[list[Waiting]], limits: Limits) -> None:
    buckets = [limits.bucket(row.length) for row in decide(queues, 0.0, limits).leave]
    padded = len(buckets) * max(buckets, default=0)
    assert padded - sum(buckets) <= limits.max_padding * padded


@given(waiting_queues(), limits_strategy)
def test_asking_again_and_again_runs_every_row_exactly_once(queues: list[list[Waiting]], limits: Limits) -> None:
    waiting = [list(queue) for queue in queues]
    ran: list[Waiting] = []
    while batch := decide(waiting, 0.0, limits).leave:
        ran.extend(batch)
        waiting = [rest for queue in waiting if (rest := [row for row in queue if row not in set(batch)])]
    assert len(ran) == len(set(ran))
    assert set(ran) == {row for queue in queues for row in queue}
