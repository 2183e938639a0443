"""The topics head: which of eight topics a message touches; several may apply, or none."""

from heads.base import Gate, Head, Multilabel

__all__ = ["HEAD"]

HEAD = Head(
    name="topics",
    team="topics",
    backbone="minilm",
    task=Multilabel(labels=("billing", "shipping", "account", "app", "product", "returns", "pricing", "privacy")),
    gate=Gate(bounds={"micro_f1": 0.5}),
)
