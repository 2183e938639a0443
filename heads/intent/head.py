"""The intent head: one of eight things that a customer wants."""

from heads.base import Classify, Gate, Head

__all__ = ["HEAD"]

HEAD = Head(
    name="intent",
    team="intent",
    backbone="minilm",
    task=Classify(
        labels=(
            "refund",
            "order_status",
            "cancel",
            "account_access",
            "billing",
            "bug_report",
            "product_question",
            "praise",
        )
    ),
    gate=Gate(bounds={"macro_f1": 0.5}),
)
