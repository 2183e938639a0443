from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from serving.isolation import in_halves


class Stage:
    """Fails on bad rows, and counts how often it is tried."""

    def __init__(self, bad: set[int]) -> None:
        self.bad = bad
        self.tries = 0

    def __call__(self, rows: Sequence[int]) -> list[int]:
        self.tries += 1
        if self.bad & set(rows):
            raise RuntimeError
        return [row * 10 for row in rows]


def outcomes(rows: Sequence[int], stage: Stage) -> dict[int, int | Exception]:
    """Return what each row came to, and check that every row did once, in order."""
    by_row: dict[int, int | Exception] = {}
    for piece, outcome in in_halves(rows, stage):
        by_row.update(zip(piece, [outcome] * len(piece) if isinstance(outcome, Exception) else outcome, strict=True))
    assert list(by_row) == list(rows)
    return by_row


def failed(rows: Sequence[int], stage: Stage) -> set[int]:
    return {row for row, outcome in outcomes(rows, stage).items() if isinstance(outcome, Exception)}


def test_what_works_is_tried_once() -> None:
    stage = Stage(set())
    assert outcomes(range(8), stage) == {row: row * 10 for row in range(8)}
    assert stage.tries == 1


@given(rows=st.integers(1, 70), data=st.data())
def test_two_bad_rows_fail_alone_wherever_they_are(rows: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, rows - 1), max_size=2 if rows > 2 else 1))
    stage = Stage(bad)
    assert failed(range(rows), stage) == bad
    assert stage.tries <= 1 + 4 * (rows - 1).bit_length()


@given(rows=st.integers(1, 70), data=st.data())
def test_bad_rows_always_fail_and_what_succeeds_is_right(rows: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, rows - 1)))
    stage = Stage(bad)
    assert failed(range(rows), stage) >= bad
    assert stage.tries <= 2 * rows


@given(rows=st.integers(2, 200))
def test_what_fails_for_everybody_is_given_up_after_about_twice_the_logarithm_of_the_rows(rows: int) -> None:
    stage = Stage(set(range(rows)))
    assert failed(range(rows), stage) == set(range(rows))
    assert stage.tries <= 2 * (rows - 1).bit_length() + 1
