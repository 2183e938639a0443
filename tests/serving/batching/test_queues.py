from serving.batching import Decision, Limits, Queues
from tests.support.waiting import Waiting, flat_costs


def queues_of(*rows: tuple[str, Waiting], limits: Limits | None = None) -> Queues[Waiting]:
    queues = Queues[Waiting](limits or Limits(), flat_costs())
    for start, row in rows:
        queues.add(start, row)
    return queues


def test_rows_are_counted_by_team_and_by_bytes() -> None:
    queues = queues_of(
        ("a", Waiting(team="cs", nbytes=3)), ("b", Waiting(team="hr", nbytes=4)), ("a", Waiting(team="cs"))
    )
    assert (len(queues), queues.nbytes) == (3, 7)
    assert (queues.team_rows("cs"), queues.team_nbytes("cs")) == (2, 3)
    assert (queues.team_rows("hr"), queues.team_nbytes("hr")) == (1, 4)
    assert (queues.team_rows("it"), queues.team_nbytes("it"), queues.team_work_s("it")) == (0, 0, 0)


def test_a_row_that_leaves_takes_all_its_counts_with_it() -> None:
    stays, leaves = Waiting(nbytes=3), Waiting(nbytes=4, length=9)
    queues = queues_of(("a", stays), ("a", leaves))
    queues.discard([leaves])
    assert (len(queues), queues.nbytes, queues.team_rows("cs")) == (1, 3, 1)
    queues.discard([stays])
    assert (len(queues), queues.nbytes, queues.work_s, list(queues.teams)) == (0, 0, 0, [])


def test_a_row_that_does_not_wait_is_passed_over() -> None:
    row = Waiting()
    queues = queues_of(("a", row))
    queues.discard([Waiting(), row, row])
    assert len(queues) == 0


def test_a_row_may_come_back_after_it_left() -> None:
    row = Waiting()
    queues = queues_of(("a", row))
    queues.discard([row])
    queues.add("b", row)
    assert len(queues) == 1


def test_clearing_gives_every_row_back_oldest_first() -> None:
    rows = [Waiting(arrived_s=float(index)) for index in range(3)]
    queues = queues_of(*zip("aba", rows, strict=True))
    assert queues.clear() == rows
    assert len(queues) == 0


def test_settling_takes_out_what_left_and_what_was_refused() -> None:
    leaves, expired, stays = Waiting(), Waiting(), Waiting()
    queues = queues_of(("a", leaves), ("a", expired), ("a", stays))
    queues.settle(Decision(leave=(leaves,), expired=(expired,), charges={"cs": 0.1}), 0.0)
    assert queues.clear() == [stays]


def test_deadlines_of_rows_that_left_are_forgotten() -> None:
    queues = queues_of()
    for _ in range(1000):
        row = Waiting(deadline_s=9.0)
        queues.add("a", row)
        queues.discard([row])
    assert queues.urgent(0.0) == ([], None)
    for index in range(1000):
        queues.add("a", Waiting(deadline_s=float(index)))
    assert len(queues.urgent(500.0)[0]) == 501
