"""The mask head: which pixels of a cluttered picture belong to a glyph."""

from heads.base import Gate, Head, Segment

__all__ = ["HEAD"]

HEAD = Head(
    name="mask",
    team="mask",
    backbone="glyphs",
    # After the first stage, where a cell of the feature map is 6 × 6 pixels of the picture; later ones are coarser.
    attach=0,
    task=Segment(labels=("ground", "glyph"), detail=6),
    # A little below what the head reaches on the test split; raise a bound when a version is better.
    gate=Gate(bounds={"mean_iou": 0.78, "heavy/mean_iou": 0.77, "held_out_face/mean_iou": 0.77, "stix/mean_iou": 0.78}),
)
