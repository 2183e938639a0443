"""What a training run tells while it goes on: progress bars, histories and logs are observers of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from heads.base.network import Network

__all__ = ["EpochProgress", "EpochRecord", "Observer", "StepRecord"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord:
    """One step of the optimiser.

    Attributes:
        step: its number, from 1; after a resume it goes on from the checkpoint's, so a number may be told twice.
        epoch: the epoch that it is in, from 1.
        loss: what was minimised, averaged over the rows.
        learning_rates: by the name of the layer; only those that train.
        grad_norms: L2 norm of each layer's gradient before clipping, by its name; only those that train.
        rows: examples in the step.
        seconds: how long the step took.
    """

    step: int
    epoch: int
    loss: float
    learning_rates: Mapping[str, float]
    grad_norms: Mapping[str, float]
    rows: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRecord:
    """One pass over the training split, and what the valid split then says.

    Attributes:
        epoch: its number, from 1.
        epochs: the most there will be.
        train_loss: mean over the epoch's rows, with dropout and smoothing as they were trained on.
        valid_loss: on the valid split, without them.
        metrics: on the valid split, by name.
        watched: the metric that training watches, turned so that more is better.
        is_best: whether the epoch's weights are the best so far.
        rows_per_s: training examples a second; validation is not counted.
        seconds: how long the epoch took, validation included.
    """

    epoch: int
    epochs: int
    train_loss: float
    valid_loss: float
    metrics: Mapping[str, float]
    watched: float
    is_best: bool
    rows_per_s: float
    seconds: float


class Observer:
    """Is told how a run goes. What it raises stops the run.

    It may look at the network, put hooks on it in ``begins`` and take them off in ``ends``; it changes nothing.
    Derive from this class and override what you want to be told.
    """

    def begins(self, network: Network, epochs: int) -> None:
        """Training begins, or goes on from a checkpoint, for at most ``epochs`` epochs in all."""

    def on_step(self, record: StepRecord) -> None:
        """Take note of a step of the optimiser."""

    def on_epoch(self, record: EpochRecord) -> None:
        """Take note of an epoch."""

    def ends(self) -> None:
        """Training is over, also where it failed."""


class EpochProgress(Observer):
    """Passes on how many epochs are done.

    Args:
        tell: told the number of epochs done, and of how many.
    """

    def __init__(self, tell: Callable[[int, int], None]) -> None:
        self._tell = tell

    def on_epoch(self, record: EpochRecord) -> None:
        """Tell it."""
        self._tell(record.epoch, record.epochs)
