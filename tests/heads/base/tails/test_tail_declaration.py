"""Tails as they are declared: what is refused, and what is part of a build key."""

from typing import Any

import pytest

from heads.base import Classify, Head, Tail
from heads.base.errors import InvalidHead

MOOD = Classify(labels=("good", "bad"))


def described(tail: Tail | None) -> dict[str, Any]:
    return Head(name="mood", team="mood", task=MOOD, tail=tail).describe()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"blocks": 0}, "from 1 on; got 0"),
        ({"blocks": True}, "got True"),
        ({"blocks": "most"}, "got 'most'"),
        ({"blocks": 2, "how": "half"}, "'full' or 'lora'; got 'half'"),
        ({"blocks": 2, "rank": 0}, "'rank' of a tail is a whole number"),
        ({"blocks": 2, "alpha": float("inf")}, "'alpha' of a tail is above 0"),
    ],
)
def test_a_tail_out_of_range_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidHead) as caught:
        Tail(**values)
    assert message in str(caught.value)


def test_a_number_is_no_tail() -> None:
    with pytest.raises(InvalidHead, match=r"'tail' is a Tail, for example Tail\(blocks=2\)"):
        Head(name="mood", team="mood", task=MOOD, tail=2)  # type: ignore[arg-type]


def test_only_what_has_an_effect_is_described() -> None:
    assert "tail" not in described(None), "heads without a tail keep their build keys"
    assert described(Tail(blocks=2))["tail"] == {"blocks": 2, "how": "full"}
    assert described(Tail(blocks=2, rank=4)) == described(Tail(blocks=2))
    assert described(Tail(blocks="all", how="lora", rank=4))["tail"] == {
        "blocks": "all",
        "how": "lora",
        "rank": 4,
        "alpha": 16.0,
    }
