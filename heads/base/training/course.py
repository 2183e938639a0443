"""The course of a run, as pure functions: what trains in which epoch, how fast, and what is averaged."""

import math
from dataclasses import dataclass
from typing import Literal

from heads.base.recipe import Recipe

__all__ = ["Course", "learning_rate_at"]

Schedule = Literal["one_cycle", "cosine", "constant"]


def learning_rate_at(
    step: int, steps: int, peak: float, *, schedule: Schedule = "one_cycle", warm_up: float = 0.1
) -> float:
    """Return the learning rate of a step.

    ``one_cycle`` is a linear rise over the warm-up and then a cosine to zero, ``cosine`` is that without the rise, and
    ``constant`` is the rise and then the peak. Loshchilov & Hutter 2017 (cosine), Goyal et al. 2017 (warm-up).

    Args:
        step: from 0.
        steps: how many there are.
        peak: the highest learning rate.
        schedule: its form.
        warm_up: share of the steps in which it rises; ``cosine`` has none.

    >>> [round(learning_rate_at(step, 20, 1.0), 2) for step in (0, 1, 10, 19)]
    [0.5, 1.0, 0.59, 0.01]
    >>> [round(learning_rate_at(step, 20, 1.0, schedule="cosine"), 2) for step in (0, 10, 19)]
    [1.0, 0.5, 0.01]
    >>> [round(learning_rate_at(step, 20, 1.0, schedule="constant", warm_up=0.2), 2) for step in (0, 3, 19)]
    [0.25, 1.0, 1.0]
    """
    rise = 0 if schedule == "cosine" else max(1, round(warm_up * steps)) if warm_up else 0
    if step < rise:
        return peak * (step + 1) / rise
    if schedule == "constant":
        return peak
    return peak * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """What happens in each epoch, counted from 1.

    With ``probe_epochs`` there are two legs: in the first only the head trains (linear probing); the second trains all,
    with a new optimiser and a new schedule (LP-FT, Kumar et al. 2022). ``unfreeze_every`` lets the layers of the last
    leg go one after the other (Howard & Ruder 2018).

    Attributes:
        recipe: how to train.
        deepest: depth of the network's deepest layer; 0 is a head alone.
    """

    recipe: Recipe
    deepest: int

    @property
    def epochs(self) -> int:
        """The most epochs there will be, of both legs."""
        return self.recipe.probe_epochs + self.recipe.epochs

    def begins_leg(self, epoch: int) -> bool:
        """Whether the optimiser and the schedule begin anew in an epoch."""
        return epoch in (1, self.recipe.probe_epochs + 1)

    def depth(self, epoch: int) -> int:
        """Return the depth of the deepest layer that trains in an epoch.

        >>> course = Course(recipe=Recipe(probe_epochs=2, unfreeze_every=3), deepest=2)
        >>> [course.depth(epoch) for epoch in range(1, 11)]
        [0, 0, 0, 0, 0, 1, 1, 1, 2, 2]
        """
        if epoch <= self.recipe.probe_epochs:
            return 0
        if not self.recipe.unfreeze_every:
            return self.deepest
        return min(self.deepest, (epoch - self.recipe.probe_epochs - 1) // self.recipe.unfreeze_every)

    def rate(self, epoch: int, position: int, steps_an_epoch: int, depth: int) -> float:
        """Return the learning rate of a layer.

        Args:
            epoch: from 1.
            position: of the step in the epoch, from 0.
            steps_an_epoch: steps of each epoch.
            depth: of the layer.
        """
        recipe = self.recipe
        probing = epoch <= recipe.probe_epochs
        before, epochs = (0, recipe.probe_epochs) if probing else (recipe.probe_epochs, recipe.epochs)
        step = (epoch - before - 1) * steps_an_epoch + position
        if recipe.swa and not probing:
            # Averages of points that no longer move would be one of these points.
            step = min(step, (self._first_averaged - before - 1) * steps_an_epoch)
        return learning_rate_at(
            step,
            epochs * steps_an_epoch,
            recipe.learning_rate * recipe.layer_decay**depth,
            schedule=recipe.schedule,
            warm_up=recipe.warm_up,
        )

    def averages(self, epoch: int) -> bool:
        """Whether stochastic weight averaging counts the weights after an epoch.

        >>> [Course(recipe=Recipe(epochs=4, swa=0.5), deepest=0).averages(epoch) for epoch in range(1, 5)]
        [False, False, True, True]
        """
        return self.recipe.swa > 0 and epoch >= self._first_averaged

    def stops(self, epoch: int, best_epoch: int) -> bool:
        """Whether training is over after an epoch: all are done, or patience is, which begins once all layers train.

        With ``swa`` patience stops nothing: what would be averaged lies at the end.

        >>> course = Course(recipe=Recipe(epochs=9, patience=3, unfreeze_every=2), deepest=1)
        >>> [course.stops(epoch, best_epoch=1) for epoch in (4, 5, 9)]
        [False, True, True]
        """
        settled = self.recipe.probe_epochs + self.deepest * self.recipe.unfreeze_every
        patient = bool(self.recipe.swa) or epoch - max(best_epoch, settled) < self.recipe.patience
        return epoch >= self.epochs or not patient

    @property
    def _first_averaged(self) -> int:
        return self.epochs - max(1, round(self.recipe.swa * self.recipe.epochs)) + 1
