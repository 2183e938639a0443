"""The personal data head: spans of text that name a person, or say how to reach or charge one."""

from heads.base import Gate, Head, Tag

__all__ = ["HEAD"]

HEAD = Head(
    name="pii",
    team="pii",
    backbone="minilm",
    # Two thirds of the body are enough to see a name or a number, and every message is spared the last third.
    attach=1,
    task=Tag(labels=("person", "email", "phone", "card", "address")),
    gate=Gate(bounds={"f1": 0.5}),
)
