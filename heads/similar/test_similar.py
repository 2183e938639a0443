"""The labels of this package add up, and every split has enough of each label to find its like."""

from collections import Counter
from pathlib import Path

from heads.base.testing import Model, labels_hold, model_of, slices
from heads.similar.head import HEAD
from zoo.labels import read_labels

LABELS = read_labels(Path(__file__).with_name("labels.jsonl"))
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()

model = model_of(HEAD)


def test_the_labels_hold() -> None:
    labels_hold(HEAD, slices=("negation", "short", "typos"), slice_examples=8)


def test_every_label_has_its_like_in_every_split() -> None:
    for examples, least in ((TRAINING.train, 30), (TRAINING.valid, 8), (TEST, 12)):
        counts = Counter(example.target for example in examples)
        assert len(counts) == 8
        assert min(counts.values()) >= least


def test_the_valid_split_is_answered_well_enough(model: Model) -> None:
    slices(model, {"recall_at_1": 0.75, "map": 0.65})
