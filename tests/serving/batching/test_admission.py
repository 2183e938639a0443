from math import inf

import pytest

from serving.batching import Limits, Queues, admit, check_room, check_wait
from serving.errors import DeadlineExceeded, InvalidRequest, Overloaded
from tests.support.waiting import Waiting, flat_costs

COSTS = flat_costs()


def queues_of(limits: Limits, lanes: int = 1, **teams: int) -> Queues[Waiting]:
    queues = Queues[Waiting](limits, COSTS, lanes)
    for team, rows in teams.items():
        for _ in range(rows):
            queues.add("root", Waiting(length=22, team=team, nbytes=10))
    return queues


def ask(queues: Queues[Waiting], limits: Limits, *, left_s: float = inf, busy_s: float = 0.0) -> None:
    row = Waiting(length=22, arrived_s=5.0, deadline_s=5.0 + left_s, nbytes=10)
    admit(queues, [row], 5.0, limits, COSTS, busy_s=busy_s, lanes=1)


def test_a_request_that_could_never_be_queued_is_invalid() -> None:
    limits = Limits(max_waiting_rows=4, max_waiting_bytes=100)
    with pytest.raises(InvalidRequest, match=r"5 rows.*at most 4 rows.*Split it"):
        check_room(queues_of(limits), "cs", 5, limits)
    with pytest.raises(InvalidRequest, match="101 bytes"):
        check_room(queues_of(limits), "cs", 1, limits, nbytes=101)


def test_a_full_queue_refuses_and_says_when_to_try_again() -> None:
    limits = Limits(max_waiting_rows=4)
    check_room(queues_of(limits, cs=3), "cs", 1, limits)
    with pytest.raises(Overloaded, match="4 rows are waiting and the server keeps at most 4") as refusal:
        check_room(queues_of(limits, cs=4), "cs", 1, limits)
    assert 0 < refusal.value.retry_after_s < 1


def test_bytes_are_bounded_too() -> None:
    limits = Limits(max_waiting_bytes=45)
    check_room(queues_of(limits, cs=3), "cs", 1, limits, nbytes=10)
    with pytest.raises(Overloaded, match="40 bytes are waiting"):
        check_room(queues_of(limits, cs=4), "cs", 1, limits, nbytes=10)


def test_a_team_cannot_fill_the_queue_for_others() -> None:
    limits = Limits(max_waiting_rows=100, team_room=1.0)
    queues = queues_of(limits, cs=50)
    with pytest.raises(Overloaded, match=r"50 rows of team 'cs'.*kept for others"):
        check_room(queues, "cs", 1, limits)
    check_room(queues, "hr", 25, limits)


def test_a_request_without_a_deadline_is_not_refused_for_time() -> None:
    limits = Limits()
    ask(queues_of(limits, cs=500), limits, busy_s=10.0)


def test_a_deadline_that_even_an_idle_server_cannot_meet_is_refused_with_what_it_takes() -> None:
    limits = Limits()
    with pytest.raises(DeadlineExceeded, match=r"deadline is in 1 ms, and the answer takes about 4\.61 ms alone"):
        ask(queues_of(limits), limits, left_s=0.001)
    with pytest.raises(DeadlineExceeded, match="had passed"):
        ask(queues_of(limits), limits, left_s=-0.001)


def test_a_deadline_that_the_backlog_leaves_no_time_for_is_refused_with_when_to_try_again() -> None:
    limits = Limits()
    queues = queues_of(limits, cs=100)
    ask(queues, limits, left_s=2 * queues.work_s + 0.01)
    with pytest.raises(Overloaded, match=r"most of it waiting, and its deadline is in 200 ms") as refusal:
        ask(queues, limits, left_s=0.2)
    assert refusal.value.retry_after_s == pytest.approx(queues.work_s - 0.1)


def test_half_of_the_time_may_go_by_in_the_queue_so_that_a_server_that_slows_down_is_not_always_too_late() -> None:
    limits = Limits()
    queues = queues_of(limits, cs=100)
    with pytest.raises(Overloaded, match=r"may be queued for 50%") as refusal:
        ask(queues, limits, left_s=2 * queues.work_s - 0.1)
    assert refusal.value.retry_after_s == pytest.approx(0.05)


def test_a_wait_that_is_too_long_is_known_before_the_rows_are_preprocessed() -> None:
    limits = Limits()
    queues = queues_of(limits, cs=100, hr=1)
    check_wait(queues, "cs", 2 * queues.work_s + 0.01, limits, busy_s=0.0)
    with pytest.raises(Overloaded, match="try again in a moment"):
        check_wait(queues, "cs", queues.work_s, limits, busy_s=0.0)
    check_wait(queues, "ml", queues.work_s, limits, busy_s=0.0)


def test_more_lanes_take_a_backlog_sooner() -> None:
    limits = Limits()
    left_s = 1.5 * queues_of(limits, cs=100).work_s
    ask(queues_of(limits, lanes=2, cs=100), limits, left_s=left_s)
    with pytest.raises(Overloaded):
        ask(queues_of(limits, lanes=1, cs=100), limits, left_s=left_s)


def test_what_was_measured_counts_more_than_the_lanes() -> None:
    limits = Limits()
    queues = queues_of(limits, lanes=2, cs=100)
    for tenth in range(30):
        queues.pace.left(tenth / 10, 0.05, backlog=True)
    with pytest.raises(Overloaded):
        ask(queues, limits, left_s=1.5 * queues.work_s)


def test_batches_that_run_are_waited_for() -> None:
    limits = Limits()
    ask(queues_of(limits), limits, left_s=0.1, busy_s=0.09)
    with pytest.raises(Overloaded):
        ask(queues_of(limits), limits, left_s=0.1, busy_s=0.1)


def test_another_team_s_flood_does_not_stand_in_the_way() -> None:
    limits = Limits()
    ask(queues_of(limits, hr=500), limits, left_s=0.02)
    ask(queues_of(limits, hr=500, cs=5), limits, left_s=0.1)
    with pytest.raises(Overloaded):
        ask(queues_of(limits, hr=500, cs=50), limits, left_s=0.1)


def test_weights_count_in_what_runs_before() -> None:
    limits = Limits(team_weights={"cs": 9.0})
    ask(queues_of(limits, hr=500, cs=20), limits, left_s=0.16)
    with pytest.raises(Overloaded):
        ask(queues_of(Limits(), hr=500, cs=20), Limits(), left_s=0.16)


def test_the_rows_of_one_request_share_batches_and_lanes() -> None:
    limits = Limits()
    rows = [Waiting(length=22, arrived_s=5.0, deadline_s=5.2) for _ in range(50)]
    with pytest.raises(Overloaded):
        admit(queues_of(limits, cs=50), rows, 5.0, limits, COSTS, busy_s=0.0, lanes=1)
    admit(queues_of(limits), rows, 5.0, limits, COSTS, busy_s=0.0, lanes=1)
