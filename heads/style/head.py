"""The style head: whether a letter is set bold, italic or monospaced, or several of these."""

from heads.base import Gate, Head, Multilabel

__all__ = ["HEAD", "STYLES"]

STYLES = ("bold", "italic", "mono")

HEAD = Head(
    name="style",
    team="style",
    backbone="glyphs",
    task=Multilabel(labels=STYLES),
    # A little below what the head reaches on the test split; raise a bound when a version is better.
    gate=Gate(bounds={"micro_f1": 0.7, "unseen_script/micro_f1": 0.64}),
)
