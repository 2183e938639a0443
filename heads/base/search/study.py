"""The search for a recipe: trials of Optuna, kept in a journal that a killed search goes on from. Imports torch."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

from heads.base.declaration import Task
from heads.base.errors import TrainingFailed
from heads.base.recipe import Recipe
from heads.base.runs.history import cut_torn_line
from heads.base.search.recipe_file import Value
from heads.base.search.space import searched_keys
from heads.base.tasks.metrics import watched_score
from heads.base.training import EpochRecord, Observer, Trained
from zoo.digest import digest_json
from zoo.manifest import LOWER_IS_BETTER

__all__ = ["Found", "Search", "Train"]

Train = Callable[[Recipe, Sequence[Observer]], Trained]
"""Trains a head by a recipe, and says what it reached on the valid split."""

_STUDY = "recipe"
_RANDOM_TRIALS = 20
_EPOCHS_BEFORE_PRUNING = 5
_CONFIRMED = 5
_SEEDS = 5
_PRIME = 1_000_003
_FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search has found so far.

    Attributes:
        changes: what the best recipe changes of today's; empty if nothing was better.
        score: its watched metric on the valid split; the mean over the seeds.
        today: the same of today's recipe.
        seeds: how many seeds both means are over.
        trials: trials that are done, pruned ones included.
        pruned: trials that were given up early.
        complete: whether there are as many trials as were asked for.
    """

    changes: dict[str, Value]
    score: float
    today: float
    seeds: int
    trials: int
    pruned: int
    complete: bool


@dataclass(slots=True, kw_only=True)
class Search:
    """Tries recipes, one trial after the other, each of them determined by those before it and by the seed.

    So a search that was killed and goes on finds what an uninterrupted one finds. A trial is given up when its best
    epoch so far is below the median of the others' by then. The first trial is today's recipe.

    Attributes:
        journal: the file that every trial is kept in; held by one process at a time.
        task: the head's.
        recipe: today's; its keys outside the search space are every trial's.
        train: trains a head.
        seed: of the search. The heads are trained with the recipe's own.
        on_trial: told how many trials are done, of how many, and the best score so far.
        clock: monotonic seconds.
    """

    journal: Path
    task: Task
    recipe: Recipe
    train: Train
    seed: int = 0
    on_trial: Callable[[int, int, float], None] = lambda _done, _total, _best: None
    clock: Callable[[], float] = time.monotonic
    _study: optuna.Study = field(init=False, repr=False)

    def __post_init__(self) -> None:
        with _quiet():
            self._study = optuna.create_study(
                study_name=_STUDY,
                storage=JournalStorage(_journal(self.journal)),
                direction="maximize",
                load_if_exists=True,
                pruner=optuna.pruners.MedianPruner(n_startup_trials=10, n_warmup_steps=_EPOCHS_BEFORE_PRUNING),
            )

    def run(self, trials: int, *, seconds: float = float("inf"), stopped: Callable[[], bool] = lambda: False) -> Found:
        """Go on until there are so many trials, time is up, or ``stopped`` says so; then compare the best with today's.

        Args:
            trials: how many there shall be, those of earlier calls included.
            seconds: how long trials may begin.
            stopped: asked before each trial.
        """
        until = self.clock() + seconds
        with _quiet():
            self._give_up_interrupted()
            today = self._scored({}, self.recipe.seed)
            while (done := len(self._finished())) < trials and self.clock() < until and not stopped():
                self._try_one(done)
                self.on_trial(done + 1, trials, max((each.value for each in self._complete()), default=today))
            return self._found(trials, stopped)

    def _try_one(self, number: int) -> None:
        # A sampler of its own for each trial: what it draws must not depend on whether this process tried the last one.
        self._study.sampler = optuna.samplers.TPESampler(
            seed=(_PRIME * self.seed + number) % 2**32, n_startup_trials=_RANDOM_TRIALS, multivariate=True
        )
        keys = searched_keys(self.task)
        today = {each.key: getattr(self.recipe, each.key) for each in keys}
        # One that was killed before it began waits still; one that was killed since does not count as tried.
        if number == 0 and not self._waiting() and all(each.holds(today[each.key]) for each in keys):
            self._study.enqueue_trial(today)
        trial = self._study.ask()
        changes = {each.key: each.suggest(trial) for each in keys}
        try:
            trained = self.train(self._recipe(changes), [_Pruning(trial)])
        except (optuna.TrialPruned, TrainingFailed):
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            trial.set_user_attr("changes", changes)
            score = watched_score(self.task, trained.valid)
            self._study.set_user_attr(_key(self._recipe(changes)), score)
            self._study.tell(trial, score)

    def _found(self, trials: int, stopped: Callable[[], bool]) -> Found:
        """Train the best few, and today's, with further seeds: the best of many on few examples is partly luck."""
        finished = self._finished()
        others = [each for each in self._complete() if self._recipe(each.user_attrs["changes"]) != self.recipe]
        best = sorted(others, key=lambda each: (-each.value, each.number))[:_CONFIRMED]
        candidates: list[dict[str, Value]] = [{}, *(each.user_attrs["changes"] for each in best)]
        seeds = [self.recipe.seed + further for further in range(_SEEDS)]
        if not best or stopped() or len(finished) < trials:
            seeds = seeds[:1]
        means = [sum(self._scored(changes, seed) for seed in seeds) / len(seeds) for changes in candidates]
        winner = max(range(len(means)), key=lambda index: (means[index], -index))
        return Found(
            changes={key: value for key, value in candidates[winner].items() if getattr(self.recipe, key) != value},
            score=self._metric(means[winner]),
            today=self._metric(means[0]),
            seeds=len(seeds),
            trials=len(finished),
            pruned=sum(each.state is TrialState.PRUNED for each in finished),
            complete=len(finished) >= trials,
        )

    def _scored(self, changes: dict[str, Value], seed: int) -> float:
        """Return what a recipe reaches with a seed; it is trained once in the life of the journal.

        What diverges with a seed is worse than all that does not; of today's recipe, the team should hear of it.
        """
        recipe = self._recipe(changes).model_copy(update={"seed": seed})
        key = _key(recipe)
        if key not in self._study.user_attrs:
            try:
                score = watched_score(self.task, self.train(recipe, []).valid)
            except TrainingFailed:
                if not changes:
                    raise
                score = float("-inf")
            self._study.set_user_attr(key, score)
        return float(self._study.user_attrs[key])

    def _metric(self, score: float) -> float:
        return -score if self.task.metrics[0] in LOWER_IS_BETTER else score

    def _recipe(self, changes: dict[str, Value]) -> Recipe:
        return Recipe.model_validate(self.recipe.model_dump() | changes)

    def _finished(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=_FINISHED)

    def _complete(self) -> list[Any]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))

    def _waiting(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,))

    def _give_up_interrupted(self) -> None:
        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
            self._study.tell(trial.number, state=TrialState.FAIL)


class _Pruning(Observer):
    """Tells a trial the best score so far after each epoch, and ends the training if others were better by then."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._best = float("-inf")

    def on_epoch(self, record: EpochRecord) -> None:
        self._best = max(self._best, record.watched)
        self._trial.report(self._best, record.epoch)
        if self._trial.should_prune():
            raise optuna.TrialPruned


class _Journal(JournalFileBackend):
    """A journal that is not forced to the disk, which would cost more than a trial, and has no lock of its own.

    The run's lock keeps other processes away, and is gone with its process, as a lock file is not.

    A killed process loses nothing by it; a machine that loses power may lose the last trials, which are tried again.
    """

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        with Path(self._file_path).open("a", encoding="utf-8") as file:
            file.write("".join(json.dumps(log) + "\n" for log in logs))


def _key(recipe: Recipe) -> str:
    return digest_json(recipe.model_dump(mode="json"))


def _journal(path: Path) -> _Journal:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    cut_torn_line(path)
    return _Journal(str(path))


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from logging a line for each trial."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
