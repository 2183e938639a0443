"""The tilt head: how far a letter is turned, in degrees; counter-clockwise is positive."""

from heads.base import Gate, Head, Regress

__all__ = ["HEAD", "LARGEST_DEG"]

LARGEST_DEG = 40

HEAD = Head(
    name="tilt",
    team="tilt",
    backbone="glyphs",
    # Wider than the labels, so that their ends are not where the answer can only creep.
    task=Regress(low=-45.0, high=45.0),
    # A little above what the head reaches on the test split; lower a bound when a version is better.
    gate=Gate(bounds={"mae": 4.9, "unseen_letter/mae": 5.6}),
    parity_tolerance=1e-2,
)
