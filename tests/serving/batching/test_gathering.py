import itertools

from serving.batching import Gathering
from serving.batching.gathering import GATHER_S


def test_the_first_batch_tries_what_waiting_brings() -> None:
    assert Gathering().wait_s(waiting=1) == GATHER_S


def test_as_long_as_waiting_brings_rows_the_next_batch_waits_too() -> None:
    gathering = Gathering()
    for _ in range(100):
        assert gathering.wait_s(waiting=1) == GATHER_S
        assert gathering.wait_s(waiting=9) == 0.0


def test_one_caller_after_another_hardly_ever_waits() -> None:
    gathering = Gathering()
    waits = [gathering.wait_s(waiting=1) for _ in range(1000)]
    assert sum(wait > 0 for wait in waits) < 20


def test_when_many_come_again_waiting_is_tried_again() -> None:
    gathering = Gathering()
    for _ in range(10):
        gathering.wait_s(waiting=1)
    waits = [gathering.wait_s(waiting=1 + 8 * (number % 2)) for number in range(1000)]
    assert sum(wait > 0 for wait in waits) > 400


def test_a_batch_never_waits_twice() -> None:
    gathering = Gathering()
    waits = [gathering.wait_s(waiting=number) for number in range(100)]
    assert all(not second for first, second in itertools.pairwise(waits) if first)
