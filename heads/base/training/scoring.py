"""What a trained network answers, and how good that is on the valid split."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor

from heads.base.errors import TrainingFailed
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.tasks.losses import IGNORED, make_loss
from heads.base.tasks.metrics import measure
from heads.base.tasks.targets import answer_of, found_target
from heads.base.training.encoded import Batches, Encoded, padded
from zoo.labels import Target
from zoo.manifest import Answer
from zoo.preprocessing import Row

__all__ = ["answers_of", "device_of", "outputs_of", "score"]

_ROWS_AT_ONCE = 64


def outputs_of(network: Network, data: Encoded) -> list[dict[str, NDArray[Any]]]:
    """Return the network's output for each row, without the N axis and trimmed to the row's length."""
    return _finished(network, _logits(network, data))


def answers_of(answer: Answer, outputs: Sequence[Mapping[str, NDArray[Any]]], rows: Sequence[Row]) -> list[Target]:
    """Return each row's answer as a target, decoded as a server decodes it."""
    return [found_target(answer, values, row) for values, row in zip(outputs, rows, strict=True)]


def score(network: Network, valid: Encoded, epoch: int) -> tuple[float, dict[str, float]]:
    """Return the loss and the metrics on the valid split, both from one pass in fp32.

    Args:
        network: what is judged; it is in eval mode afterwards.
        valid: the valid split.
        epoch: named by the error.

    Raises:
        TrainingFailed: the network gives no numbers.
    """
    logits = _logits(network, valid)
    if not all(scores.isfinite().all() for scores in logits):
        raise TrainingFailed(
            f"The head gives no numbers after epoch {epoch}; expected finite scores. Lower learning_rate in "
            "recipe.toml."
        )
    loss = make_loss(network.task, Recipe(), valid.targets)(padded(logits), padded(valid.targets, IGNORED))
    found = answers_of(answer_of(network.task), _finished(network, logits), valid.rows)
    return float(loss), measure(network.task, valid.wanted, found)


def device_of(network: Network) -> torch.device:
    """Return where a network's weights are."""
    return next(network.parameters()).device


def _logits(network: Network, data: Encoded) -> list[Tensor]:
    """Return each row's logits, (C,) or (T, K) without padding, on the CPU."""
    per_token = "T" in network.outputs[0].shape
    order = sorted(range(len(data.rows)), key=data.size)
    batches = Batches(data, device_of(network))
    found: dict[int, Tensor] = {}
    network.eval()
    # Shards gathered in inference mode could not be trained with afterwards.
    whole = not any(isinstance(weight, DTensor) for weight in network.parameters())
    with torch.inference_mode(whole), torch.no_grad():
        for start in range(0, len(order), _ROWS_AT_ONCE):
            chosen = order[start : start + _ROWS_AT_ONCE]
            for row, scores in zip(chosen, network.logits(*batches.inputs(chosen)).cpu(), strict=True):
                found[row] = scores[: data.rows[row].length] if per_token else scores
    return [found[row] for row in range(len(data.rows))]


def _finished(network: Network, logits: Sequence[Tensor]) -> list[dict[str, NDArray[Any]]]:
    return [{network.outputs[0].name: network.finish(scores).numpy()} for scores in logits]
