"""The labels of this package add up, and every split has enough of each label to find its like."""

from collections import Counter
from pathlib import Path

from heads.base.fit import check_labels
from heads.base.recipe import read_recipe
from heads.similar.head import HEAD
from zoo.labels import read_labels

FOLDER = Path(__file__).parent
LABELS = read_labels(FOLDER / "labels.jsonl")
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()


def test_the_labels_fit_the_head() -> None:
    check_labels(HEAD, LABELS)


def test_every_label_has_its_like_in_every_split() -> None:
    for examples, least in ((TRAINING.train, 30), (TRAINING.valid, 8), (TEST, 12)):
        counts = Counter(example.target for example in examples)
        assert len(counts) == 8
        assert min(counts.values()) >= least


def test_no_text_of_the_test_split_is_in_another_split() -> None:
    def plain(text: str) -> str:
        return "".join(filter(str.isalnum, text.casefold()))

    seen = {plain(example.text) for example in (*TRAINING.train, *TRAINING.valid)}
    assert not [example.id for example in TEST if plain(example.text) and plain(example.text) in seen]


def test_the_recipe_reads() -> None:
    assert read_recipe(FOLDER / "recipe.toml").seed == 0
