"""The search: each trial follows from those before it, what is hopeless is given up, and luck is told from merit."""

import itertools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from heads.base import Classify
from heads.base.errors import TrainingFailed
from heads.base.recipe import Recipe
from heads.base.search.space import SPACE, Range, searched_keys
from heads.base.search.study import Search
from heads.base.training import EpochRecord, Observer, Trained

TASK = Classify(labels=("good", "bad"))
RECIPE = Recipe(epochs=12, learning_rate=1e-3)


class Trainer:
    """A made-up head: best at a learning rate of 0.01, a little luckier with some seeds."""

    def __init__(self, score: Callable[[Recipe], float] | None = None) -> None:
        self.recipes: list[Recipe] = []
        self.epochs_of_trials = 0
        self._score = score or (lambda recipe: 0.9 - 0.2 * abs(math.log10(recipe.learning_rate) + 2))

    def __call__(self, recipe: Recipe, observers: Sequence[Observer]) -> Trained:
        self.recipes.append(recipe)
        score = self._score(recipe)
        for epoch in range(1, recipe.epochs + 1):
            self.epochs_of_trials += len(observers)
            for observer in observers:
                observer.on_epoch(record(epoch, recipe.epochs, score * epoch / recipe.epochs))
        return Trained(epochs=recipe.epochs, best_epoch=recipe.epochs, seconds=0.0, valid={"macro_f1": score})


def record(epoch: int, epochs: int, score: float) -> EpochRecord:
    return EpochRecord(
        epoch=epoch,
        epochs=epochs,
        train_loss=0.5,
        valid_loss=0.5,
        metrics={"macro_f1": score},
        watched=score,
        is_best=True,
        rows_per_s=1.0,
        seconds=1.0,
    )


def search(journal: Path, train: Trainer, **changes: Any) -> Search:
    return Search(journal=journal, task=TASK, recipe=RECIPE, train=train, **changes)


def tried(journal: Path) -> list[tuple[dict[str, Any], float | None]]:
    """What each finished trial tried and came to."""
    found = search(journal, Trainer())._finished()
    return [(trial.params, trial.value) for trial in found]


def test_a_better_recipe_is_found_and_only_searched_keys_change(tmp_path: Path) -> None:
    train = Trainer()
    found = search(tmp_path / "journal", train).run(60)
    assert found.today == pytest.approx(0.7)
    assert found.score > 0.85
    assert found.changes["learning_rate"] == pytest.approx(0.01, rel=0.5)
    assert set(found.changes) <= {each.key for each in searched_keys(TASK)}
    assert all(getattr(RECIPE, key) != value for key, value in found.changes.items())
    assert (found.trials, found.complete, found.seeds) == (60, True, 5)
    assert {recipe.epochs for recipe in train.recipes} == {12}


def test_hopeless_trials_are_given_up(tmp_path: Path) -> None:
    train = Trainer()
    found = search(tmp_path / "journal", train).run(60)
    assert found.pruned > 10
    assert train.epochs_of_trials < 60 * RECIPE.epochs


def test_the_first_trial_is_todays_recipe(tmp_path: Path) -> None:
    train = Trainer()
    search(tmp_path / "journal", train).run(1)
    assert train.recipes == [RECIPE, RECIPE]


def test_todays_recipe_is_measured_as_it_is_today_also_where_an_older_one_began_the_search(tmp_path: Path) -> None:
    found = search(tmp_path / "journal", Trainer()).run(40)
    better = RECIPE.model_copy(update=found.changes)
    again = Search(journal=tmp_path / "journal", task=TASK, recipe=better, train=Trainer()).run(40)
    assert again.changes == {}
    assert again.score == again.today == pytest.approx(found.score)


def test_a_search_that_goes_on_tries_what_an_uninterrupted_one_tries(tmp_path: Path) -> None:
    whole = search(tmp_path / "whole", Trainer()).run(40)
    for trials in (1, 7, 23, 40):
        parts = search(tmp_path / "parts", Trainer()).run(trials)
    assert tried(tmp_path / "parts") == tried(tmp_path / "whole")
    assert (parts.changes, parts.score) == (whole.changes, whole.score)


@pytest.mark.parametrize("at", [0, 3])
def test_a_search_that_was_killed_within_a_trial_tries_what_an_uninterrupted_one_tries(at: int, tmp_path: Path) -> None:
    trials = itertools.count()

    class Killed(Trainer):
        def __call__(self, recipe: Recipe, observers: Sequence[Observer]) -> Trained:
            if observers and next(trials) == at:
                raise KeyboardInterrupt
            return super().__call__(recipe, observers)

    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "killed", Killed()).run(12)
    search(tmp_path / "killed", Trainer()).run(12)
    search(tmp_path / "whole", Trainer()).run(12)
    assert tried(tmp_path / "killed") == tried(tmp_path / "whole")


def test_a_search_that_is_done_trains_nothing_again(tmp_path: Path) -> None:
    first = search(tmp_path / "journal", Trainer()).run(25)
    train = Trainer()
    assert search(tmp_path / "journal", train).run(25) == first
    assert train.recipes == []


@pytest.mark.parametrize("lost", [1, 30, 200, 1000])
def test_a_journal_whose_end_is_lost_is_gone_on_with(lost: int, tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    search(journal, Trainer()).run(25)
    journal.write_bytes(journal.read_bytes()[:-lost])
    search(journal, Trainer()).run(25)
    search(tmp_path / "whole", Trainer()).run(25)
    assert tried(journal) == tried(tmp_path / "whole")


def test_another_seed_tries_other_recipes(tmp_path: Path) -> None:
    search(tmp_path / "a", Trainer(), seed=0).run(10)
    search(tmp_path / "b", Trainer(), seed=1).run(10)
    assert tried(tmp_path / "a")[1:] != tried(tmp_path / "b")[1:]


def test_a_recipe_that_was_only_lucky_with_its_seed_is_not_taken(tmp_path: Path) -> None:
    def lucky(recipe: Recipe) -> float:
        return 0.7 if recipe == RECIPE.model_copy(update={"seed": recipe.seed}) else 0.9 if recipe.seed == 0 else 0.1

    found = search(tmp_path / "journal", Trainer(lucky)).run(10)
    assert found.changes == {}
    assert found.score == found.today == pytest.approx(0.7)


def test_trials_that_diverge_are_pruned_and_the_search_goes_on(tmp_path: Path) -> None:
    def score(recipe: Recipe) -> float:
        if recipe.learning_rate > 2e-3:
            raise TrainingFailed("The loss is nan")
        return 0.5

    found = search(tmp_path / "journal", Trainer(score)).run(15)
    assert found.trials == 15
    assert 0 < found.pruned < 15


def test_a_recipe_that_diverges_with_another_seed_loses_and_the_search_ends_well(tmp_path: Path) -> None:
    def score(recipe: Recipe) -> float:
        if recipe.learning_rate > 2e-3 and recipe.seed == 3:
            raise TrainingFailed("The loss is nan")
        return 0.9 if recipe.learning_rate > 2e-3 else 0.5

    found = search(tmp_path / "journal", Trainer(score)).run(15)
    assert (found.trials, found.seeds, found.complete) == (15, 5, True)
    assert found.score == found.today == pytest.approx(0.5)
    assert search(tmp_path / "journal", Trainer(score)).run(15) == found


def test_a_search_stops_when_time_is_up_or_it_is_told_to_and_still_says_what_it_found(tmp_path: Path) -> None:
    ticks = itertools.count()
    found = search(tmp_path / "a", Trainer(), clock=lambda: float(next(ticks))).run(100, seconds=10)
    assert 5 < found.trials <= 10
    assert not found.complete
    assert found.seeds == 1
    asked = iter([False] * 8 + [True] * 10)
    assert search(tmp_path / "b", Trainer()).run(100, stopped=lambda: next(asked)).trials == 8


def test_every_searched_key_is_the_recipes_and_says_why() -> None:
    for each in SPACE:
        assert each.key in Recipe.model_fields
        assert len(each.why) > 20
        for value in (each.low, each.high) if isinstance(each, Range) else each.values:
            Recipe.model_validate({each.key: value})
