"""What is looked at while a run goes on: which epoch was best, and whether the loss goes where it should."""

import math
from collections import deque
from typing import NoReturn

from torch import Tensor

from heads.base.errors import TrainingFailed
from heads.base.training.state import State

__all__ = ["Best", "DivergenceWatch"]

_TIMES_THE_FIRST = 10.0
_LOWEST_FIRST = 0.1
_STEPS_SEEN = 50
_STEPS_ABOVE = 40


class Best:
    """Keeps the weights of the epoch with the best validation score; of equal scores, the one of least loss."""

    def __init__(self) -> None:
        self.epoch = 0
        self.values: dict[str, float] = {}
        self.weights: dict[str, Tensor] = {}
        self._score = (-math.inf, -math.inf)

    def beaten_by(self, watched: float, loss: float) -> bool:
        """Whether an epoch is better than all before it."""
        return (watched, -loss) > self._score

    def keep(
        self, epoch: int, watched: float, loss: float, values: dict[str, float], weights: dict[str, Tensor]
    ) -> None:
        """Keep an epoch."""
        self.epoch, self.values, self.weights = epoch, values, weights
        self._score = (watched, -loss)

    def state(self) -> State:
        """Return what a checkpoint keeps."""
        values = {"epoch": self.epoch, "values": self.values, "score": list(self._score)}
        return State(tensors=self.weights, values=values)

    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        self.epoch, self.values = state.values["epoch"], state.values["values"]
        watched, loss = state.values["score"]
        self._score = (watched, loss)
        self.weights = dict(state.tensors)


class DivergenceWatch:
    """Stops a run whose loss stays far above where it began.

    >>> watch = DivergenceWatch()
    >>> for step in range(1, 52):
    ...     watch.see(2.0 if step == 1 else 30.0, step)
    Traceback (most recent call last):
    heads.base.errors.TrainingFailed: The loss began at 2 and was above 20 in 40 of the 50 steps up to step 41 (30): it
    diverges. Lower learning_rate in recipe.toml; `zoo head lr-find <team>` suggests one.
    >>> watch = DivergenceWatch()
    >>> for loss in (2.0, 30.0, 30.0, 30.0, 30.0, 30.0):
    ...     watch.see(loss, 1)
    >>> watch.end()
    Traceback (most recent call last):
    heads.base.errors.TrainingFailed: The loss began at 2 and was above 20 in 5 of its 6 steps: it diverges. Lower
    learning_rate in recipe.toml; `zoo head lr-find <team>` suggests one.
    """

    def __init__(self) -> None:
        self._first = math.nan
        self._above: deque[bool] = deque(maxlen=_STEPS_SEEN)

    def see(self, loss: float, step: int) -> None:
        """Take note of a step's loss.

        Raises:
            TrainingFailed: it diverges.
        """
        if math.isnan(self._first):
            self._first = loss
        self._above.append(loss > self._bound)
        if sum(self._above) >= _STEPS_ABOVE:
            self._refuse(f"in {_STEPS_ABOVE} of the {_STEPS_SEEN} steps up to step {step} ({loss:.3g})")

    def end(self) -> None:
        """Look at a whole run that was too short to be stopped on the way.

        Raises:
            TrainingFailed: it diverged.
        """
        seen = len(self._above)
        if sum(self._above) * _STEPS_SEEN >= seen * _STEPS_ABOVE > 0:
            self._refuse(f"in {sum(self._above)} of its {seen} steps")

    @property
    def _bound(self) -> float:
        # A first loss near zero says little about how large a loss of this kind may be.
        return _TIMES_THE_FIRST * max(self._first, _LOWEST_FIRST)

    def _refuse(self, where: str) -> NoReturn:
        raise TrainingFailed(
            f"The loss began at {self._first:.3g} and was above {self._bound:.3g} {where}: it diverges. Lower "
            "learning_rate in recipe.toml; `zoo head lr-find <team>` suggests one."
        )

    def state(self) -> State:
        """Return what a checkpoint keeps."""
        return State(values={"first": self._first, "above": list(self._above)})

    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        self._first = state.values["first"]
        self._above.extend(state.values["above"])
