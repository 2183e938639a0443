import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base.inspect.spans import FATES, met_spans
from zoo.labels import Span

SPANS = st.lists(st.builds(Span, st.integers(0, 9), st.integers(10, 19), st.sampled_from("ab")), max_size=4)


@pytest.mark.parametrize(
    ("found", "fate"),
    [
        (Span(2, 8, "name"), "right"),
        (Span(2, 7, "name"), "wrong ends"),
        (Span(2, 8, "city"), "another label"),
        (Span(4, 9, "city"), "another label, wrong ends"),
    ],
)
def test_a_piece_that_meets_another_is_told_apart_by_label_and_ends(found: Span, fate: str) -> None:
    assert [each.fate for each in met_spans([Span(2, 8, "name")], [found])] == [fate]


def test_a_piece_that_meets_nothing_was_missed_or_invented() -> None:
    met = list(met_spans([Span(0, 3, "name")], [Span(3, 6, "name")]))
    assert [each.fate for each in met] == ["missed", "invented"]


def test_of_two_that_meet_one_piece_the_one_that_shares_more_is_its_answer() -> None:
    met = list(met_spans([Span(0, 10, "name")], [Span(0, 3, "name"), Span(4, 10, "name")]))
    assert [(each.fate, each.found) for each in met] == [
        ("wrong ends", Span(4, 10, "name")),
        ("invented", Span(0, 3, "name")),
    ]


@given(SPANS, SPANS)
def test_every_piece_is_told_of_exactly_once(wanted: list[Span], found: list[Span]) -> None:
    met = list(met_spans(wanted, found))
    assert sorted(each.wanted for each in met if each.wanted) == sorted(wanted)
    assert sorted(each.found for each in met if each.found) == sorted(found)
    assert {each.fate for each in met} <= set(FATES)
