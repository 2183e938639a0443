"""What a search of recipes tries: each key with its range, and why. Imports neither torch nor optuna."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from heads.base.declaration import Task
from heads.base.recipe import READ_BY, Recipe

__all__ = ["SPACE", "Choice", "Range", "Searched", "Suggesting", "describe_space", "searched_keys"]


class Suggesting(Protocol):
    """The part of an Optuna trial that a search space needs."""

    def suggest_float(self, name: str, low: float, high: float, *, log: bool = False) -> float:
        """Return a number of the range."""
        ...

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A number between two bounds. What is tried is rounded to two digits, so that a recipe stays readable.

    Attributes:
        key: the recipe's key.
        low: the least.
        high: the most.
        log: whether a factor matters, and not a difference.
        why: why it is searched, and why between these.
        kinds: the kinds of heads that read the key; empty for all.
    """

    key: str
    low: float
    high: float
    log: bool = False
    why: str
    kinds: tuple[str, ...] = ()

    def suggest(self, trial: Suggesting) -> float:
        """Return the value that a trial tries."""
        return self.rounded(trial.suggest_float(self.key, self.low, self.high, log=self.log))

    def rounded(self, value: float) -> float:
        """Return a value as it is tried.

        >>> Range(key="x", low=1e-4, high=1, log=True, why="").rounded(0.0123456)
        0.012
        """
        return float(f"{value:.2g}") if self.log else round(value, 2)

    def holds(self, value: Any) -> bool:
        """Say whether a value could have been tried."""
        return bool(self.low <= value <= self.high)

    def describe(self) -> dict[str, Any]:
        """Return the range as JSON."""
        return {"key": self.key, "low": self.low, "high": self.high, "log": self.log}


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One of a few values.

    Attributes:
        key: the recipe's key.
        values: what is tried.
        why: why it is searched, and why these.
        kinds: the kinds of heads that read the key; empty for all.
    """

    key: str
    values: tuple[Any, ...]
    why: str
    kinds: tuple[str, ...] = ()

    def suggest(self, trial: Suggesting) -> Any:
        """Return the value that a trial tries."""
        return trial.suggest_categorical(self.key, list(self.values))

    def holds(self, value: Any) -> bool:
        """Say whether a value could have been tried."""
        return value in self.values

    def describe(self) -> dict[str, Any]:
        """Return the choices as JSON."""
        return {"key": self.key, "values": list(self.values)}


Searched = Range | Choice
"""A key of the recipe, and what is tried for it."""

SPACE: tuple[Searched, ...] = (
    Range(
        key="learning_rate",
        low=3e-4,
        high=5e-2,
        log=True,
        why="A head depends on nothing as much. Below, it is not done when its epochs are; above, AdamW jumps about.",
    ),
    Range(
        key="weight_decay",
        low=1e-3,
        high=1.0,
        log=True,
        why="A head has more inputs than a small team has examples. It acts times the learning rate, so it goes high.",
    ),
    Range(
        key="dropout", low=0.0, high=0.7, why="The other guard against learning by heart; frozen features stand a lot."
    ),
    Choice(
        key="hidden",
        values=(0, 64, 128, 256),
        why="Whether the features are linear in the answer. Wider than the features (384 in MiniLM) brought nothing.",
    ),
    Choice(
        key="batch_size", values=(16, 32, 64, 128), why="Smaller steps are noisier, which can help; larger are faster."
    ),
    Choice(
        key="pool",
        values=("mean", "mean_max"),
        why="Whether one striking word decides, which a mean over all tokens hides.",
        kinds=READ_BY["pool"],
    ),
    Choice(
        key="context",
        values=(0, 1, 2, 3),
        why="How many neighbours say what a token, or a patch, is.",
        kinds=READ_BY["context"],
    ),
    Range(
        key="label_smoothing",
        low=0.0,
        high=0.2,
        why="Labels that are wrong or could be two; above 0.2 probabilities mean little.",
        kinds=READ_BY["label_smoothing"],
    ),
    Choice(
        key="class_weights",
        values=(False, True),
        why="Rare classes count in macro F1 as much as frequent ones.",
        kinds=READ_BY["class_weights"],
    ),
)
"""Every key that a search tries. How long a head trains (epochs, patience) is not among them: longer nearly always
looks a little better on the valid split, and costs every later build. Nor is the seed: luck is nothing to choose by."""


def searched_keys(task: Task) -> tuple[Searched, ...]:
    """Return what is searched for a kind of head."""
    return tuple(each for each in SPACE if not each.kinds or task.kind in each.kinds)


def describe_space(task: Task, recipe: Recipe) -> dict[str, Any]:
    """Return everything about the recipe that decides what a search finds, as JSON: the space, and the other keys.

    Args:
        task: the head's.
        recipe: whose keys outside the space stay as they are.
    """
    keys = searched_keys(task)
    fixed = recipe.model_dump(mode="json", exclude={each.key for each in keys})
    return {"space": [each.describe() for each in keys], "fixed": fixed}
