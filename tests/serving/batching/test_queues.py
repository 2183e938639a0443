from serving.batching import Queues


def test_rows_stay_in_order_and_apart_by_root() -> None:
    queues = Queues[str]()
    for root, row in (("a", "1"), ("b", "2"), ("a", "3")):
        queues.add(root, row)
    assert [list(queue) for queue in queues] == [["1", "3"], ["2"]]
    assert len(queues) == 3


def test_a_row_can_leave_from_the_middle() -> None:
    queues = Queues[str]()
    for row in "123":
        queues.add("a", row)
    queues.discard(["2"])
    assert [list(queue) for queue in queues] == [["1", "3"]]


def test_a_row_that_does_not_wait_is_passed_over() -> None:
    queues = Queues[str]()
    queues.add("a", "1")
    queues.discard(["2", "1", "1"])
    assert len(queues) == 0


def test_a_queue_without_rows_is_gone() -> None:
    queues = Queues[str]()
    queues.add("a", "1")
    queues.discard(["1"])
    assert list(queues) == []


def test_clearing_gives_every_row_back() -> None:
    queues = Queues[str]()
    queues.add("a", "1")
    queues.add("b", "2")
    assert queues.clear() == ["1", "2"]
    assert len(queues) == 0
    assert list(queues) == []
