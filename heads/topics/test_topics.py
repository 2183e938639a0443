"""The labels of this package add up, fit its declaration, and are enough to learn and to test from."""

from heads.base.testing import labels_hold
from heads.topics.head import HEAD

EDGE_CASES = ("negation", "typos", "mixed_language", "short", "long", "sarcasm", "two_topics", "none")


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=40, test=10, slices=EDGE_CASES)
