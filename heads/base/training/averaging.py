"""Averages of weights over training: a moving one (EMA), or one of the last epochs (SWA)."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from heads.base.training.state import State

__all__ = ["Average", "moving", "update_batch_norms"]

Tensors = tuple[Tensor, ...] | list[Tensor]
AveragingFunction = Callable[[Tensors, Tensors, Tensor | int], None]
"""(averages, current weights, how many were averaged so far): changes the averages."""


class Average:
    """An average of trained parameters, which can stand in for them for a while.

    Buffers are not averaged: batch-norm statistics are moving averages already, and after SWA they are measured anew.

    Args:
        parameters: what is trained.
        function: how a further set of weights counts; None counts all alike (Izmailov et al. 2018).
    """

    def __init__(self, parameters: Sequence[nn.Parameter], function: AveragingFunction | None = None) -> None:
        self._parameters = list(parameters)
        self._live = nn.ParameterList(self._parameters)
        self._model = AveragedModel(self._live, multi_avg_fn=function)

    def add(self) -> None:
        """Count the weights as they are now."""
        self._model.update_parameters(self._live)

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Put the averages in the place of the weights; these are back afterwards."""
        with torch.no_grad():
            own = [parameter.clone() for parameter in self._parameters]
            self._put(list(self._model.module.parameters()))
        try:
            yield
        finally:
            self._put(own)

    def state(self) -> State:
        """Return what a checkpoint keeps."""
        return State(tensors=self._model.state_dict())

    def restore(self, state: State) -> None:
        """Go on from a checkpoint."""
        self._model.load_state_dict(dict(state.tensors))

    def _put(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self._parameters, values, strict=True):
                parameter.copy_(value)


def moving(decay: float) -> AveragingFunction:
    """Return the moving average ``decay * average + (1 - decay) * weights``.

    Early on the decay is smaller, (1 + n) / (10 + n) after n steps, so that the average does not cling to
    untrained weights.
    """

    @torch.no_grad()
    def function(averages: Tensors, weights: Tensors, count: Tensor | int) -> None:
        seen = int(count)
        torch._foreach_lerp_(list(averages), list(weights), 1 - min(decay, (1 + seen) / (10 + seen)))

    return function


@contextmanager
def update_batch_norms(network: nn.Module) -> Iterator[bool]:
    """Measure the statistics of the batch norms that train over the batches that the body runs.

    ``torch.optim.swa_utils.update_bn`` would measure frozen ones too, and frozen means frozen.

    Args:
        network: in training mode, as far as it trains.

    Yields:
        Whether there are any.
    """
    norms = [
        part
        for part in network.modules()
        if isinstance(part, nn.modules.batchnorm._BatchNorm) and part.training and part.track_running_stats
    ]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # counts all batches alike
    with torch.no_grad():
        yield bool(norms)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
