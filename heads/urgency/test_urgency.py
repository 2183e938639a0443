"""The labels of this package add up, fit its declaration, and are enough to learn from."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from heads.base.fit import check_labels
from heads.base.recipe import read_recipe
from heads.urgency.head import HEAD
from zoo.labels import Example, read_labels

FOLDER = Path(__file__).parent
LABELS = read_labels(FOLDER / "labels.jsonl")
TRAINING = LABELS.for_training()
TEST = LABELS.for_gate()


def test_the_labels_are_those_that_the_head_declares() -> None:
    check_labels(HEAD, LABELS)
    assert LABELS.kinds() == {"value"}


def test_every_part_of_the_scale_has_enough_examples_to_learn_from_and_to_be_tested_on() -> None:
    train, test = quarters(TRAINING.train), quarters(TEST)
    assert {quarter: train[quarter] for quarter in range(4) if train[quarter] < 40} == {}
    assert {quarter: test[quarter] for quarter in range(4) if test[quarter] < 10} == {}


def quarters(examples: Sequence[Example]) -> Counter[int]:
    """Count the examples in each quarter of the scale."""
    values = [example.target for example in examples if isinstance(example.target, float)]
    return Counter(min(3, int(value / 2.5)) for value in values)


def test_no_text_of_the_test_split_is_in_another_split() -> None:
    def plain(text: str) -> str:
        return "".join(filter(str.isalnum, text.casefold()))

    seen = {plain(example.text) for example in (*TRAINING.train, *TRAINING.valid)}
    assert not [example.id for example in TEST if plain(example.text) and plain(example.text) in seen]


def test_the_test_split_has_the_edge_cases_that_the_gate_bounds() -> None:
    found = Counter(name for example in TEST for name in example.slices)
    expected = {
        "negation",
        "typos",
        "mixed_language",
        "short",
        "long",
        "sarcasm",
        "calm_but_urgent",
        "loud_but_trivial",
    }
    assert {name: found[name] for name in expected if found[name] < 10} == {}
    bounded = {bound.rpartition("/")[0] for bound in HEAD.gate.bounds if "/" in bound}
    assert bounded <= set(found)


def test_the_recipe_reads() -> None:
    assert read_recipe(FOLDER / "recipe.toml").seed == 0
