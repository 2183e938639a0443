"""The training loop: plain torch over cached features, the same weights for the same seed."""

import copy
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from heads.base.errors import TrainingFailed
from heads.base.losses import IGNORED, Loss, make_loss
from heads.base.metrics import measure, watched_score
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.targets import answer_of, encode_target, found_target
from heads.base.threads import one_thread
from heads.base.training.checkpoint import Checkpoints
from heads.base.training.observing import EpochRecord, Observer
from zoo.labels import Example, Target
from zoo.manifest import Answer
from zoo.preprocessing import Row

__all__ = ["Encoded", "Trained", "answers_of", "encode", "learning_rate_at", "outputs_of", "train_head"]

Trainable = TypeVar("Trainable", bound=Network)

_WARM_UP = 0.1
_ROWS_AT_ONCE = 64
_BATCHES_SORTED_TOGETHER = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """One split, ready for a head: per row its reduced features, its target, its label and its input."""

    reduced: list[tuple[Tensor, ...]]
    targets: list[Tensor]
    wanted: list[Target]
    rows: list[Row]

    def size(self, row: int) -> int:
        """Return the size of a row's first axis, which ragged rows are padded on."""
        return len(self.reduced[row][0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How training went. The head given to it has the weights of the best epoch."""

    epochs: int
    best_epoch: int
    seconds: float
    valid: dict[str, float]


def encode(
    head: Network, examples: Sequence[Example], rows: Sequence[Row], features: Sequence[Mapping[str, NDArray[Any]]]
) -> Encoded:
    """Prepare a split: reduce its features with the head's weightless part, and encode its targets.

    Args:
        head: whose ``reduce`` is applied.
        examples: the labels.
        rows: their inputs.
        features: per row, what the head reads, by name and without the N axis.
    """
    return Encoded(
        reduced=[_reduce_row(head, feature) for feature in features],
        targets=[encode_target(head.task, example.target, row) for example, row in zip(examples, rows, strict=True)],
        wanted=[example.target for example in examples],
        rows=list(rows),
    )


def train_head(
    make: Callable[[], Trainable],
    split: Callable[[Trainable], tuple[Encoded, Encoded]],
    recipe: Recipe,
    *,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,  # noqa: ARG001 - the signature comes before what it does
) -> tuple[Trainable, Encoded, Trained]:
    """Train a head and give it the weights of its best epoch on the valid split.

    Args:
        make: makes the untrained network; called under the recipe's seed.
        split: the train and the valid split, encoded for that network.
        recipe: how to train.
        observers: told about each step and each epoch.
        checkpoints: where the state is written, to go on from if the run is killed.

    Returns:
        The trained head, in eval mode; the valid split as it saw it; and how it went.

    Raises:
        TrainingFailed: the loss is not a number.
    """
    started = time.monotonic()
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(recipe.seed)
        head = make()
        train, valid = split(head)
        best = _Best()
        for observer in observers:
            observer.begins(head, recipe.epochs)
        for epoch in _epochs(head, train, recipe):
            loss, values = _score(head, valid, epoch)
            best.offer(epoch, head, loss, values)
            record = EpochRecord(
                epoch=epoch,
                epochs=recipe.epochs,
                train_loss=math.nan,
                valid_loss=loss,
                metrics=values,
                watched=best.latest,
                is_best=best.epoch == epoch,
                rows_per_s=math.nan,
                seconds=math.nan,
            )
            for observer in observers:
                observer.on_epoch(record)
            if epoch - best.epoch >= recipe.patience:
                break
    best.restore(head)
    for observer in observers:
        observer.ends()
    seconds = time.monotonic() - started
    return head, valid, Trained(epochs=epoch, best_epoch=best.epoch, seconds=seconds, valid=best.values)


def outputs_of(head: Network, data: Encoded) -> list[dict[str, NDArray[Any]]]:
    """Return the head's output for each row, without the N axis and trimmed to the row's length."""
    return _finished(head, _logits(head, data))


def answers_of(answer: Answer, outputs: Sequence[Mapping[str, NDArray[Any]]], rows: Sequence[Row]) -> list[Target]:
    """Return each row's answer as a target, decoded as a server decodes it."""
    return [found_target(answer, values, row) for values, row in zip(outputs, rows, strict=True)]


def learning_rate_at(step: int, steps: int, peak: float) -> float:
    """Return the one-cycle learning rate: a linear rise over the first tenth, then a cosine to zero.

    Loshchilov & Hutter 2017 (cosine) with the warm-up of Goyal et al. 2017.

    >>> [round(learning_rate_at(step, 20, 1.0), 2) for step in (0, 1, 10, 19)]
    [0.5, 1.0, 0.59, 0.01]
    """
    rise = max(1, round(_WARM_UP * steps))
    if step < rise:
        return peak * (step + 1) / rise
    return peak * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise))) / 2


class _Best:
    """Keeps the weights of the epoch with the best validation score; of equal scores, the one of least loss."""

    def __init__(self) -> None:
        self.epoch = 0
        self.latest = -math.inf
        self.values: dict[str, float] = {}
        self._score = (-math.inf, -math.inf)
        self._weights: dict[str, Tensor] = {}

    def offer(self, epoch: int, head: Network, loss: float, values: dict[str, float]) -> None:
        self.latest = watched_score(head.task, values)
        if (self.latest, -loss) > self._score:
            self.epoch, self.values, self._score = epoch, values, (self.latest, -loss)
            self._weights = copy.deepcopy(head.state_dict())

    def restore(self, head: Network) -> None:
        head.load_state_dict(self._weights)
        head.eval()


def _epochs(head: Network, train: Encoded, recipe: Recipe) -> Iterator[int]:
    loss = make_loss(head.task, recipe, train.targets)
    optimizer = torch.optim.AdamW(head.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * math.ceil(len(train.rows) / recipe.batch_size)
    step = 0
    for epoch in range(1, recipe.epochs + 1):
        head.train()
        for chosen in _shuffled_batches(train, recipe.batch_size):
            for group in optimizer.param_groups:
                group["lr"] = learning_rate_at(step, steps, recipe.learning_rate)
            _step(head, train, chosen, loss, optimizer, step)
            step += 1
        yield epoch


def _shuffled_batches(train: Encoded, size: int) -> list[list[int]]:
    """Return the rows in batches in random order; a batch holds rows of similar length, so that little is padded."""
    order: list[int] = torch.randperm(len(train.rows)).tolist()
    near = size * _BATCHES_SORTED_TOGETHER
    chunks = [sorted(order[start : start + near], key=train.size) for start in range(0, len(order), near)]
    batches = [chunk[start : start + size] for chunk in chunks for start in range(0, len(chunk), size)]
    return [batches[index] for index in torch.randperm(len(batches)).tolist()]


def _step(
    head: Network, train: Encoded, chosen: Sequence[int], loss: Loss, optimizer: torch.optim.Optimizer, step: int
) -> None:
    value = loss(head.logits(*_inputs(train, chosen)), _batch([train.targets[row] for row in chosen], IGNORED))
    if not torch.isfinite(value):
        raise TrainingFailed(
            f"The loss is {value.item()} at step {step + 1}; expected a finite number. Lower learning_rate in "
            "recipe.toml, or look for inputs whose features are not numbers."
        )
    optimizer.zero_grad()
    value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    torch.nn.utils.clip_grad_norm_(head.parameters(), 1.0)
    optimizer.step()


def _score(head: Network, valid: Encoded, epoch: int) -> tuple[float, dict[str, float]]:
    """Return the loss and the metrics on the valid split, both from one pass."""
    logits = _logits(head, valid)
    if not all(scores.isfinite().all() for scores in logits):
        raise TrainingFailed(
            f"The head gives no numbers after epoch {epoch}; expected finite scores. Lower learning_rate in "
            "recipe.toml."
        )
    loss = make_loss(head.task, Recipe(), valid.targets)(_batch(logits), _batch(valid.targets, IGNORED))
    found = answers_of(answer_of(head.task), _finished(head, logits), valid.rows)
    return float(loss), measure(head.task, valid.wanted, found)


def _logits(head: Network, data: Encoded) -> list[Tensor]:
    """Return each row's logits, (C,) or (T, K) without padding."""
    per_token = "T" in head.outputs[0].shape
    order = sorted(range(len(data.rows)), key=data.size)
    found: dict[int, Tensor] = {}
    head.eval()
    with torch.inference_mode():
        for start in range(0, len(order), _ROWS_AT_ONCE):
            chosen = order[start : start + _ROWS_AT_ONCE]
            for row, scores in zip(chosen, head.logits(*_inputs(data, chosen)), strict=True):
                found[row] = scores[: data.rows[row].length] if per_token else scores
    return [found[row] for row in range(len(data.rows))]


def _finished(head: Network, logits: Sequence[Tensor]) -> list[dict[str, NDArray[Any]]]:
    return [{head.outputs[0].name: head.finish(scores).numpy()} for scores in logits]


def _inputs(data: Encoded, chosen: Sequence[int]) -> tuple[Tensor, ...]:
    """Return what ``logits`` takes, for some rows; padding is zero, in the mask too."""
    return tuple(_batch(column) for column in zip(*(data.reduced[row] for row in chosen), strict=True))


def _reduce_row(head: Network, features: Mapping[str, NDArray[Any]]) -> tuple[Tensor, ...]:
    with torch.no_grad():
        inputs = (torch.from_numpy(np.asarray(features[spec.name])).unsqueeze(0) for spec in head.inputs)
        return tuple(tensor.squeeze(0) for tensor in head.reduce(*inputs))


def _batch(tensors: Sequence[Tensor], padding: float = 0.0) -> Tensor:
    """Stack tensors on a new first axis; ragged ones are padded at the end of their own first axis."""
    if len({tensor.shape for tensor in tensors}) == 1:
        return torch.stack(list(tensors))
    return pad_sequence(list(tensors), batch_first=True, padding_value=padding)
