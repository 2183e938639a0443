"""An observer of training that looks at activations: signed histograms and dead shares of each layer, over time.

The idea of watching activations as an image over time is fastai's "colourful dimension"; here the histograms are
signed, on a logarithmic grid that needs no range in advance.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.utils.hooks import RemovableHandle

from heads.base.inspect.activations import (
    BINS,
    BINS_PER_OCTAVE,
    LOWEST,
    SIDE,
    Activations,
    write_activations,
)
from heads.base.training.observing import EpochRecord, Observer, StepRecord

__all__ = ["ActivationObserver", "signed_histogram"]

MOST_COLUMNS = 128
"""When so many steps are recorded, neighbours are added up and every second step is left out from then on."""

MOST_LAYERS = 32
_MOST_VALUES = 1 << 14
_NEAR_ZERO = 0.01
_COPIES = (nn.Dropout, nn.Identity)
"""What hands on its input; its output says nothing new."""


def signed_histogram(values: Tensor) -> Tensor:
    """Count values in the bins of ``activations.bin_edges``; what is not finite is left out.

    Args:
        values: any shape, any float type.

    Returns:
        (``BINS``,) int64.

    >>> signed_histogram(torch.tensor([0.0, 1.0, 1.0, -1.0])).nonzero().flatten().tolist()
    [39, 96, 153]
    """
    finite = values[values.isfinite()].float()
    magnitude = (finite.abs().clamp(min=LOWEST / 2) / LOWEST).log2() * BINS_PER_OCTAVE
    place = magnitude.floor().clamp(-1, SIDE - 1).long() + 1
    return torch.bincount(torch.where(finite < 0, -place, place) + SIDE, minlength=BINS)


@dataclass(slots=True)
class _Column:
    """What was seen at one step, or at several that were added up: by layer, counts over bins, and of small values."""

    step: int
    counts: NDArray[np.int64]
    near_zero: NDArray[np.int64]
    seen: NDArray[np.int64]
    norms: dict[str, float]
    steps: int = 1

    def add(self, later: "_Column") -> None:
        """Add a later column to this one."""
        self.step = later.step
        self.counts = self.counts + later.counts
        self.near_zero = self.near_zero + later.near_zero
        self.seen = self.seen + later.seen
        names = self.norms.keys() | later.norms.keys()
        self.norms = {name: self.norms.get(name, 0.0) + later.norms.get(name, 0.0) for name in names}
        self.steps += later.steps


class ActivationObserver(Observer):
    """Looks at the outputs of a network's layers while it trains, and writes what it saw when training ends.

    It draws no random numbers and changes no tensor, so what is trained has the same bits with it and without. Memory
    is bounded whatever the length of the run. The hook is torch's global one and knows the network's modules by
    identity: nothing is put into the network, so copies of it (averaged weights, checkpoints) carry no hook away.

    Args:
        folder: where ``activations.safetensors`` and ``activations.json`` go, such as a run's folder.
        every: look at each ``every``-th step at first; a long run is looked at ever more rarely.

    Raises:
        ValueError: ``every`` is below 1.
    """

    def __init__(self, folder: Path, *, every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"'every' is a number of steps from 1 on; got {every}.")
        self._folder = folder
        self._every = every
        self._network: nn.Module | None = None
        self._layers: dict[nn.Module, int] = {}
        self._names: tuple[str, ...] = ()
        self._columns: list[_Column] = []
        self._current = _empty(0)
        self._due = True
        self._steps = 0
        self._hook: RemovableHandle | None = None

    def begins(self, network: nn.Module, epochs: int) -> None:  # noqa: ARG002 - all observers are told
        """Choose the layers to look at, and begin to look."""
        self._remove()
        chosen = _layers_of(network)
        self._network, self._names = network, tuple(chosen)
        self._layers = {module: place for place, module in enumerate(chosen.values())}
        self._columns, self._steps, self._due = [], 0, True
        self._current = _empty(len(self._names))
        self._hook = register_module_forward_hook(self._look)

    def on_step(self, record: StepRecord) -> None:
        """Close the column of the step that was just taken, if it was looked at."""
        if self._due:
            self._current.step = record.step
            self._current.norms = {name: float(norm) for name, norm in record.grad_norms.items()}
            self._columns.append(self._current)
            self._current = _empty(len(self._names))
            if len(self._columns) == MOST_COLUMNS:
                self._thin_out()
        self._steps += 1
        self._due = self._steps % self._every == 0

    def on_epoch(self, record: EpochRecord) -> None:
        """Nothing: all of it is about steps."""

    def ends(self) -> None:
        """Stop looking, whatever happened, and write what was seen if any step was taken."""
        self._remove()
        columns, self._columns = self._columns, []
        if columns:
            write_activations(self._folder, _gathered(self._names, columns))

    def _remove(self) -> None:
        if self._hook is not None:
            self._hook.remove()
        self._hook, self._network, self._layers = None, None, {}

    def _thin_out(self) -> None:
        for earlier, later in zip(self._columns[::2], self._columns[1::2], strict=True):
            earlier.add(later)
        self._columns = self._columns[::2]
        self._every *= 2

    def _look(self, module: nn.Module, _inputs: object, output: object) -> None:
        place = self._layers.get(module) if self._due else None
        if place is None or self._network is None or not self._network.training:
            return
        if not isinstance(output, Tensor) or not output.is_floating_point():
            return
        with torch.no_grad():
            flat = output.detach().flatten()
            values = flat[:: 1 + (len(flat) - 1) // _MOST_VALUES] if len(flat) else flat
            small = values.abs() < _NEAR_ZERO * values.float().square().mean().sqrt()
            self._current.counts[place] += signed_histogram(values).cpu().numpy()
            self._current.near_zero[place] += int(small.sum())
            self._current.seen[place] += len(values)


def _empty(layers: int) -> _Column:
    none_L = np.zeros(layers, np.int64)
    return _Column(0, np.zeros((layers, BINS), np.int64), none_L, none_L.copy(), {})


def _layers_of(network: nn.Module) -> Mapping[str, nn.Module]:
    """Return the modules without parts, by name; of very many, evenly spread ones and always the last."""
    found = [
        (name, module)
        for name, module in network.named_modules()
        if name and not any(module.children()) and not isinstance(module, _COPIES)
    ]
    if len(found) > MOST_LAYERS:
        places = np.linspace(0, len(found) - 1, MOST_LAYERS).round().astype(int)
        found = [found[place] for place in places]
    return dict(found)


def _gathered(names: tuple[str, ...], columns: list[_Column]) -> Activations:
    gradients = tuple(dict.fromkeys(name for column in columns for name in column.norms))
    norms = [[column.norms.get(name, 0.0) / column.steps for column in columns] for name in gradients]
    near_CL = np.stack([column.near_zero / np.maximum(column.seen, 1) for column in columns])
    counts_CLB = np.stack([column.counts for column in columns])
    return Activations(
        layers=names,
        steps=np.array([column.step for column in columns], np.int64),
        counts=np.ascontiguousarray(counts_CLB.transpose(1, 0, 2)),
        near_zero=np.ascontiguousarray(near_CL.T, np.float32),
        gradient_layers=gradients,
        gradient_norms=np.array(norms, np.float32).reshape(len(gradients), len(columns)),
    )
