"""The urgency head: a value from 0 (a compliment) to 10 (somebody is in danger, or everything is down)."""

from heads.base import Gate, Head, Regress

__all__ = ["HEAD"]

HEAD = Head(
    name="urgency",
    team="urgency",
    backbone="minilm",
    task=Regress(low=0, high=10),
    gate=Gate(bounds={"mae": 3.0}),
)
