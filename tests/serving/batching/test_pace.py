import pytest

from serving.batching.pace import Pace


def busy(pace: Pace, *, work_s: float, began_s: float = 0.0, turns: int = 40) -> None:
    for turn in range(turns):
        pace.left(began_s + turn / 10, work_s, backlog=True)


def test_until_it_was_measured_every_lane_counts() -> None:
    assert Pace(lanes=2).rate == 2


def test_it_is_the_work_that_leaves_each_second() -> None:
    pace = Pace(lanes=2)
    busy(pace, work_s=0.08)
    assert pace.rate == pytest.approx(0.8, rel=0.01)


def test_it_is_never_more_than_the_lanes() -> None:
    pace = Pace(lanes=2)
    busy(pace, work_s=5.0)
    assert pace.rate == 2


def test_a_server_that_is_not_behind_says_nothing_of_its_pace() -> None:
    pace = Pace(lanes=2)
    for turn in range(40):
        pace.left(turn / 10, 0.001, backlog=False)
    assert pace.rate == 2


def test_a_pause_does_not_count() -> None:
    pace = Pace(lanes=2)
    busy(pace, work_s=0.2)
    pace.left(5.0, 0.2, backlog=False)
    busy(pace, work_s=0.2, began_s=1000.0)
    assert pace.rate == pytest.approx(2, rel=0.01)


def test_it_follows_a_server_that_gets_faster() -> None:
    pace = Pace(lanes=2)
    busy(pace, work_s=0.02)
    busy(pace, work_s=0.15, began_s=4.0)
    assert pace.rate == pytest.approx(1.5, rel=0.05)
