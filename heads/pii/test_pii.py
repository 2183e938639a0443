"""The labels of this package add up, fit its declaration, and are enough to learn from."""

from collections import Counter
from pathlib import Path

from heads.base.fit import check_labels
from heads.base.recipe import read_recipe
from heads.pii.head import HEAD
from zoo.labels import Example, Span, read_labels

FOLDER = Path(__file__).parent
LABELS = read_labels(FOLDER / "labels.jsonl")
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()


def test_the_labels_are_those_that_the_head_declares() -> None:
    check_labels(HEAD, LABELS)
    assert LABELS.label_names() == set(HEAD.task.labels)


def test_every_label_has_enough_examples_to_learn_from_and_to_be_tested_on() -> None:
    train = Counter(label for example in TRAINING.train for label in names(example))
    test = Counter(label for example in TEST for label in names(example))
    assert {label: train[label] for label in HEAD.task.labels if train[label] < 40} == {}
    assert {label: test[label] for label in HEAD.task.labels if test[label] < 10} == {}


def names(example: Example) -> set[str]:
    """The labels of one example; spans of one label in one text teach one lesson."""
    assert isinstance(example.target, tuple)
    return {span.label for span in example.target if isinstance(span, Span)}


def test_some_texts_have_nothing_to_find() -> None:
    assert len([example for example in TRAINING.train if example.target == ()]) >= 40


def test_no_text_of_the_test_split_is_in_another_split() -> None:
    def plain(text: str) -> str:
        return "".join(filter(str.isalnum, text.casefold()))

    seen = {plain(example.text) for example in (*TRAINING.train, *TRAINING.valid)}
    assert not [example.id for example in TEST if plain(example.text) and plain(example.text) in seen]


def test_the_test_split_has_the_edge_cases_that_the_gate_bounds() -> None:
    found = Counter(name for example in TEST for name in example.slices)
    expected = {"negation", "typos", "mixed_language", "short", "long", "sarcasm", "many_kinds", "hard_negative"}
    assert {name: found[name] for name in expected if found[name] < 10} == {}
    bounded = {bound.rpartition("/")[0] for bound in HEAD.gate.bounds if "/" in bound}
    assert bounded <= set(found)


def test_the_recipe_reads() -> None:
    assert read_recipe(FOLDER / "recipe.toml").seed == 0
