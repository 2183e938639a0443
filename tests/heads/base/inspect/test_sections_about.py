"""What a report says of itself and of the training: what chose its numbers, and which weights were published."""

from typing import Any

import pytest

from heads.base.inspect.sections_about import learning, reads
from heads.base.runs.history import History

EPOCH: dict[str, Any] = {
    "epoch": 1,
    "train_loss": 0.5,
    "valid_loss": 0.6,
    "metrics": {"macro_f1": 0.7},
    "is_best": True,
}
HISTORY = History(epochs=(EPOCH, {**EPOCH, "epoch": 2, "is_best": False}), steps=())


@pytest.mark.parametrize(("split", "flatters"), [("valid", True), ("test", False)])
def test_a_report_on_the_split_that_chose_says_that_it_flatters(split: str, flatters: bool) -> None:
    told = reads(split, 7, 80)
    assert told.startswith(f"reads 7 of 80 examples of the {split} split; answers come from the exports")
    assert ("flatter" in told) is flatters


def test_the_epoch_of_the_published_weights_is_marked() -> None:
    (body,) = learning(HISTORY).body
    assert "the weights of the marked epoch are the ones published" in body
    assert "best: epoch 1" in body


def test_of_averaged_weights_no_epoch_is_said_to_be_published() -> None:
    (body,) = learning(HISTORY, averaged=True).body
    assert "the average over the last epochs was published" in body
    assert "best: epoch 1" not in body
