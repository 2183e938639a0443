import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base.testing.rates import Rate


@given(of=st.integers(1, 5000), share=st.floats(0, 1))
def test_the_interval_holds_the_share_and_stays_between_0_and_1(of: int, share: float) -> None:
    rate = Rate(round(share * of), of)
    low, high = rate.interval
    assert 0 <= low <= rate.share + 1e-12
    assert rate.share - 1e-12 <= high <= 1


@given(held=st.integers(0, 50), more=st.integers(0, 50))
def test_what_holds_and_what_fails_have_mirrored_intervals(held: int, more: int) -> None:
    of = held + more + 1
    low, high = Rate(held, of).interval
    mirrored = Rate(of - held, of).interval
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_the_interval_is_wilsons() -> None:
    assert Rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=1e-4)  # Newcombe 1998, table I
    assert Rate(0, 20).interval == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert Rate(1, 29).interval == pytest.approx((0.0061, 0.1718), abs=1e-4)
