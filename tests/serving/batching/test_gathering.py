from serving.batching import Gathering
from serving.batching.gathering import GATHER_S


def batches(gathering: Gathering, *, come: int, count: int) -> list[float]:
    """Return how long each of ``count`` batches waited, while so many rows came in every wait."""
    waits = []
    for _ in range(count):
        waits.append(gathering.wait_s(waiting=1))
        if waits[-1]:
            gathering.ended(waiting=1 + come)
    return waits


def test_the_first_batch_tries_what_waiting_brings() -> None:
    assert Gathering().wait_s(waiting=1) == GATHER_S


def test_as_long_as_waiting_brings_rows_every_batch_waits() -> None:
    assert batches(Gathering(), come=8, count=100) == [GATHER_S] * 100


def test_one_caller_after_another_hardly_ever_waits() -> None:
    waits = batches(Gathering(), come=0, count=1000)
    assert 0 < sum(wait > 0 for wait in waits) < 20


def test_when_many_come_again_waiting_is_tried_again() -> None:
    gathering = Gathering()
    batches(gathering, come=0, count=10)
    assert batches(gathering, come=8, count=1000)[-100:] == [GATHER_S] * 100
