"""Bad labels end with an error that names the line, and what to do about it."""

from collections.abc import Callable
from typing import Any

import pytest

from heads.base import Classify, Embed, Head, Multilabel, Regress, Tag
from heads.base.building.bench import Bench
from heads.base.building.ingredients import gather
from heads.base.building.phases import Phases
from heads.base.declaration import Task
from heads.base.errors import InvalidHead, InvalidRecipe
from heads.base.fit import check_labels, check_read
from heads.base.recipe import Recipe
from tests.support.head_packages import TeamFolder, mood_lines
from zoo import Zoo
from zoo.errors import InvalidLabels

Lines = list[dict[str, Any]]


def only_one(lines: Lines) -> Lines:
    """One training example is labelled 'bad', and it stands on the second line."""
    return [
        {**line, "label": "good"} if line["split"] == "train" and number != 1 else line
        for number, line in enumerate(lines)
    ]


def unknown(lines: Lines) -> Lines:
    return [*lines[:4], {**lines[4], "label": "goood"}, *lines[5:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            unknown,
            r"labels\.jsonl:5: 'mood-0004' has the label 'goood', which 'mood' does not declare. Did you mean 'good'",
        ),
        (only_one, r"'bad', which has one training example, labels\.jsonl:2.*Write more, or take the label out"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_labels_that_a_head_cannot_learn_from_are_refused_by_line(
    team: TeamFolder, change: Callable[[Lines], Lines], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    team.write_labels(change(mood_lines()))
    monkeypatch.chdir(team.path)
    with pytest.raises(InvalidHead, match=message.replace(r"labels\.jsonl", r".*labels\.jsonl")):
        check_labels(team.package.head, team.package.labels())


def test_one_example_of_a_label_among_several_is_refused_too(team: TeamFolder) -> None:
    team.task = Multilabel(labels=("good", "bad"))
    lines = [{**{k: v for k, v in line.items() if k != "label"}, "labels": ["good"]} for line in mood_lines()]
    team.bounds = {}
    team.write_labels([{**lines[0], "labels": ["good", "bad"]}, *lines[1:]])
    with pytest.raises(InvalidHead, match=r"'bad', which has one training example, .*labels\.jsonl:1\b"):
        check_labels(team.package.head, team.package.labels())


def test_a_value_out_of_range_is_refused_by_line(team: TeamFolder) -> None:
    team.task, team.bounds = Regress(low=0, high=1), {}
    lines = [{**{k: v for k, v in line.items() if k != "label"}, "value": 0.5} for line in mood_lines()]
    team.write_labels([*lines[:7], {**lines[7], "value": 1.5}, *lines[8:]])
    with pytest.raises(InvalidHead, match=r"labels\.jsonl:8: 'mood-0007' has the value 1.5; the head declares 0 to 1"):
        check_labels(team.package.head, team.package.labels())


def test_an_empty_split_is_refused_by_name(team: TeamFolder) -> None:
    team.write_labels([line for line in mood_lines() if line["split"] != "valid"])
    with pytest.raises(InvalidLabels, match=r"no examples in the split valid\. Give each of train, valid, test some"):
        team.package.labels()


def test_an_input_that_preprocessing_refuses_is_named_by_line(zoo: Zoo, team: TeamFolder) -> None:
    lines = mood_lines()
    team.write_labels([*lines[:2], {**lines[2], "text": "w1 " * 60}, *lines[3:]])
    ingredients = gather(zoo, team.package)
    bench = Bench(zoo, ingredients, Phases())
    with pytest.raises(
        InvalidLabels, match=r"labels\.jsonl:3: the input of 'mood-0002' is refused\. .*62 tokens.*mend"
    ):
        bench.rows(ingredients.labels.for_training().train)


@pytest.mark.parametrize(
    ("task", "recipe", "message"),
    [
        (
            Regress(low=0, high=1),
            Recipe(label_smoothing=0.1),
            "has label_smoothing = 0.1, which the regress head 'mood' does not read",
        ),
        (
            Embed(dim=8),
            Recipe(class_weights=True),
            "has class_weights = true, which the embed head 'mood' does not read",
        ),
        (Classify(labels=("a", "b")), Recipe(context=3), "has context = 3, .* kinds tag, segment do. Take it out"),
        (Tag(labels=("a",)), Recipe(pool="mean_max"), "has pool = mean_max"),
    ],
)
def test_a_key_that_such_heads_do_not_read_is_refused(task: Task, recipe: Recipe, message: str) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        check_read(Head(name="mood", team="mood", task=task), recipe)
    check_read(Head(name="mood", team="mood", task=task), Recipe())


def test_a_head_of_labels_with_two_examples_each_is_taken(team: TeamFolder) -> None:
    team.task, team.bounds = Classify(labels=("good", "bad")), {}
    lines = mood_lines()
    train = [line for line in lines if line["split"] == "train"][:4]
    team.write_labels([line for line in lines if line["split"] != "train" or line in train])
    check_labels(team.package.head, team.package.labels())
