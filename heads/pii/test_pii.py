"""The labels of this package add up, fit its declaration, and are enough to learn and to test from."""

from heads.base.packages import load_package
from heads.base.testing import labels_hold
from heads.pii.head import HEAD

EDGE_CASES = ("negation", "typos", "mixed_language", "short", "long", "sarcasm", "many_kinds", "hard_negative")


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=40, test=10, slices=EDGE_CASES)


def test_some_texts_have_nothing_to_find() -> None:
    training = load_package(HEAD.team).labels().for_training()
    assert len([example for example in training.train if example.target == ()]) >= 40
