"""The learning-rate finder: a range test on the train split, and the learning rate that it suggests."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from heads.base.errors import TrainingFailed
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.training.encoded import Encoded
from heads.base.training.loop import Trainable, seeded
from heads.base.training.processes import OneProcess
from heads.base.training.stepping import Stepper

__all__ = ["RangeTest", "Suggestion", "find_learning_rate", "suggest"]

_SMOOTHING = 0.9
_TIMES_THE_BEST = 4.0
_FALL_BEGINS = 0.1
_LEAST_FALL = 0.05
_TIMES_THE_NOISE = 3.0
_LEAST_POINTS = 10

OnStep = Callable[[int, int], None]
"""Told how many steps are done, of how many at most; for a progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Suggestion:
    """Learning rates that a range test speaks for.

    Attributes:
        steepest: where the loss falls fastest; careful.
        valley: in the middle, on a logarithmic scale, between where the loss begins to fall and where it is lowest.
    """

    steepest: float
    valley: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RangeTest:
    """What a range test saw.

    Attributes:
        rates: the learning rate of each step, rising.
        losses: the loss at each step, smoothed.
        suggestion: what follows from them.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: Suggestion


def find_learning_rate(
    make: Callable[[], Trainable],
    split: Callable[[Trainable], tuple[Encoded, Encoded]],
    recipe: Recipe,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    on_step: OnStep = lambda _done, _most: None,
) -> RangeTest:
    """Train for some steps with a learning rate that rises from each to the next, until the loss runs away.

    The range test of Smith 2017. All layers train, each at its share of the learning rate (``layer_decay``). Only the
    train split is looked at, and the network is thrown away.

    Args:
        make: makes the untrained network; called under the recipe's seed.
        split: the train and the valid split, encoded for that network.
        recipe: how to train; its schedule plays no part.
        lowest: the first learning rate.
        highest: the last one, if the loss does not run away before.
        steps: how many steps there are between them.
        on_step: told about each step.

    Raises:
        InvalidRecipe: the recipe does not fit the network.
        TrainingFailed: the loss falls at no learning rate.
    """
    with seeded(recipe):
        network = make()
        train, _ = split(network)
        rates = np.geomspace(lowest, highest, steps).tolist()
        losses: list[float] = []
        for done, loss in enumerate(_losses(network, train, recipe, rates), start=1):
            smoothed = _smoothed(losses, loss)
            if not math.isfinite(loss) or smoothed > _TIMES_THE_BEST * min(losses, default=math.inf):
                break
            losses.append(smoothed)
            on_step(done, steps)
    found = suggest(rates[: len(losses)], losses)
    return RangeTest(rates=tuple(rates[: len(losses)]), losses=tuple(losses), suggestion=found)


def suggest(rates: Sequence[float], losses: Sequence[float]) -> Suggestion:
    """Return the learning rates that the losses of a range test speak for.

    Args:
        rates: rising.
        losses: smoothed.

    Raises:
        TrainingFailed: the losses do not fall.

    >>> rates = np.geomspace(1e-5, 1, 11)
    >>> found = suggest(rates, [1.0, 1.0, 1.0, 0.98, 0.8, 0.3, 0.2, 0.18, 0.17, 0.5, 2.0])
    >>> f"steepest {found.steepest:.4f}, valley {found.valley:.4f}"
    'steepest 0.0010, valley 0.0056'
    """
    low = int(np.argmin(losses)) if len(losses) >= _LEAST_POINTS else 0
    # Not the first loss, which is that of one batch.
    early = losses[: max(1, low // 2)] or [math.nan]
    start = float(np.median(early))
    fall = start - min(losses, default=math.nan)
    if low < 2 or fall < max(_LEAST_FALL * abs(start), _TIMES_THE_NOISE * float(np.std(early))):
        last = f"up to {rates[-1]:.1e}" if rates else "at all"
        raise TrainingFailed(
            f"The loss falls at no learning rate {last}: it began at {start:.3g}. Look for "
            "inputs whose features are not numbers and at the labels, or begin at a lower rate with --lowest."
        )
    exponents = np.log(np.asarray(rates, dtype=np.float64))
    slopes = np.gradient(np.asarray(losses, dtype=np.float64), exponents)
    begins = max(index for index in range(low) if losses[index] >= start - _FALL_BEGINS * fall)
    return Suggestion(
        steepest=float(rates[begins + int(np.argmin(slopes[begins : low + 1]))]),
        valley=float(np.exp((exponents[begins] + exponents[low]) / 2)),
    )


def _losses(network: Network, train: Encoded, recipe: Recipe, rates: Sequence[float]) -> Iterator[float]:
    """Yield the loss before each step; the step is taken when the next loss is asked for."""
    stepper = Stepper(network, train, recipe, OneProcess())
    deepest = stepper.layers[-1].depth
    batches: list[list[int]] = []
    try:
        for rate in rates:
            batches = batches or stepper.shuffled()
            stepper.train_down_to(deepest)
            yield stepper.gradients(batches.pop())
            stepper.update([rate * recipe.layer_decay**layer.depth for layer in stepper.layers])
    finally:
        stepper.ends()


def _smoothed(losses: Sequence[float], loss: float) -> float:
    """Return the exponential moving average of the losses with one more, corrected for its few first terms.

    >>> _smoothed([], 2.0), round(_smoothed([2.0], 1.0), 3)
    (2.0, 1.474)
    """
    count = len(losses)
    before = losses[-1] * (1 - _SMOOTHING**count) if count else 0.0
    return (_SMOOTHING * before + (1 - _SMOOTHING) * loss) / (1 - _SMOOTHING ** (count + 1))
