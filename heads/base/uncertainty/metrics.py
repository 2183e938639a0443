"""How good a head's certainty is, on a split that nothing of it was fitted to."""

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from heads.base.building.bench import Bench
from heads.base.declaration import Head, Regress
from heads.base.errors import InvalidHead
from heads.base.network import Network
from heads.base.packages import load_package
from heads.base.tasks.modules import HeadStage
from heads.base.training import Encoded
from heads.base.uncertainty.calibration import auroc, calibration_error, confidences, mean_nll
from heads.base.uncertainty.head import CertainHead, doubt
from heads.base.uncertainty.rows import (
    Reduced,
    flat_logits,
    head_of,
    reach,
    reduce_features,
    rows_of,
    span_of,
    targets_of,
)
from zoo.blobs import BlobStore
from zoo.errors import InvalidInput
from zoo.labels import Example
from zoo.manifest import Metrics
from zoo.preprocessing import Row

__all__ = ["certainty_metrics", "outside_features", "residuals_of"]


def certainty_metrics(
    metrics: Metrics, network: Network, data: Encoded, outside: Sequence[Mapping[str, NDArray[Any]]] = ()
) -> Metrics:
    """Return metrics with how good a certainty is, beside that of the head as it was trained (``…_plain``).

    ``ece`` is the calibration error over 15 bins, ``nll`` the mean negative log-likelihood, ``within_1sd`` the share of
    values within a standard deviation (0.68 of a Gaussian's), ``ood_auroc`` the chance that something outside is less
    sure than something inside. Nothing is fitted here.

    Args:
        metrics: of the network on the split.
        network: with or without certainty; without, nothing is added.
        data: the split.
        outside: features of inputs that are unlike the head's, as ``encode`` takes them.
    """
    head = head_of(network)
    if not isinstance(head, CertainHead):
        return metrics
    head, inside = copy.deepcopy(head).cpu(), reach(network, data.reduced)
    values = (
        _value_metrics(head, inside, data) if isinstance(head.task, Regress) else _score_metrics(head, inside, data)
    )
    if outside:
        values |= _outside_metrics(head, inside, reach(network, reduce_features(network, outside)))
    overall = metrics.overall.model_copy(update={"values": metrics.overall.values | values})
    return metrics.model_copy(update={"overall": overall})


def outside_features(declared: Head, bench: Bench, blobs: BlobStore) -> list[dict[str, NDArray[Any]]]:
    """Return features of what the team trains on whose inputs are unlike the head's; none if it names no team.

    What the head's preprocessing refuses is left out, as it would be refused when it is served.

    Args:
        declared: names the team.
        bench: of the head.
        blobs: where images are; one that is not there is left out too.

    Raises:
        UnknownTeam: there is no such team.
        InvalidHead: none of its inputs is taken.
    """
    if not declared.ood:
        return []
    splits = load_package(declared.ood).labels().for_training()
    rows = [row for example in (*splits.train, *splits.valid) if (row := _row(bench, blobs, example))]
    if not rows:
        raise InvalidHead(
            f"{declared.name!r} takes no input of the team that its 'ood' names, {declared.ood!r}. Name another team."
        )
    return bench.features(rows)


def residuals_of(head: CertainHead, reduced: Reduced, data: Encoded) -> tuple[Tensor, Tensor]:
    """Return how far values are from those wanted, and what standard deviation the head gives them, both (N,)."""
    values = torch.stack(rows_of(lambda *rows: torch.cat(head.certain(*rows), dim=1), reduced))
    return values[:, 0] - torch.stack(data.targets).flatten(), values[:, 1]


def _score_metrics(head: CertainHead, reduced: Reduced, data: Encoded) -> dict[str, float]:
    targets, values = targets_of(data, head.task), {}
    for suffix, each in (("", head), ("_plain", head.plain)):
        logits = flat_logits(each, reduced, data)
        values[f"ece{suffix}"] = calibration_error(*confidences(logits, targets))
        values[f"nll{suffix}"] = mean_nll(logits, targets)
    return values


def _value_metrics(head: CertainHead, reduced: Reduced, data: Encoded) -> dict[str, float]:
    """Return those of values; the plain head is given one standard deviation for all, as the valid split had it."""
    assert isinstance(head.task, Regress)
    residuals, deviations = residuals_of(head, reduced, data)
    plain = head.plain.finish(torch.stack(rows_of(head.plain.logits, reduced))) - torch.stack(data.targets)
    constant = (head.noise * span_of(head.task)).expand(len(plain))
    return {
        "nll": _gaussian_nll(residuals, deviations),
        "nll_plain": _gaussian_nll(plain.flatten(), constant),
        "within_1sd": float((residuals.abs() <= deviations).float().mean()),
    }


def _gaussian_nll(residuals: Tensor, deviations: Tensor) -> float:
    return float((deviations.log() + (residuals / deviations).square() / 2).mean() + np.log(2 * np.pi) / 2)


def _outside_metrics(head: CertainHead, inside: Reduced, outside: Reduced) -> dict[str, float]:
    found = {"ood_auroc": auroc(_unsure(head, inside), _unsure(head, outside))}
    if not isinstance(head.task, Regress):  # a value as it was trained says nothing of its certainty
        found["ood_auroc_plain"] = auroc(_unsure(head.plain, inside), _unsure(head.plain, outside))
    return found


def _unsure(head: HeadStage, reduced: Reduced) -> NDArray[np.float64]:
    """Return how unsure each answer is, (N,): of a head that does not say, as ``CertainHead`` says it of scores."""
    if isinstance(head, CertainHead) and head.layer is not None:
        found = torch.stack(rows_of(lambda *rows: head.certain(*rows)[1], reduced))
    else:
        scores = head.finish(torch.stack(rows_of(head.logits, reduced)))
        found = doubt(scores, head.task)
    return found.flatten().double().numpy()


def _row(bench: Bench, blobs: BlobStore, example: Example) -> Row | None:
    if example.image and not blobs.has(example.image):
        return None
    try:
        return bench.preprocessor(blobs.get(example.image) if example.image else example.text)
    except InvalidInput:
        return None
