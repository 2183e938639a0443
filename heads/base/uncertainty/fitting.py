"""What a head declares about its certainty, fitted between training and judging; nothing of it sees the test split."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from heads.base.declaration import Head, Regress
from heads.base.errors import InvalidHead
from heads.base.network import Network
from heads.base.tails.tail import TailedHead
from heads.base.tasks.modules import HeadStage
from heads.base.threads import one_thread
from heads.base.training import Encoded
from heads.base.training.scoring import device_of
from heads.base.uncertainty.calibration import fit_temperature
from heads.base.uncertainty.gaussian_process import Observed, fit_gaussian_process
from heads.base.uncertainty.head import UNCERTAINTY, Body, CertainHead, GaussianLayer, last_linear
from heads.base.uncertainty.laplace import fit_laplace
from heads.base.uncertainty.metrics import residuals_of
from heads.base.uncertainty.rows import Reduced, flat_logits, head_of, reach, rows_of, targets_of
from zoo.manifest import Answer

__all__ = ["naming_uncertainty", "with_certainty"]

_LEAST_NOISE = 1e-3
"""Of values, as a share of their range: nobody labels closer."""

_LEAST_DEVIATION = 1e-2
"""Of the logarithm of variances: a valid split of equal inputs does not make all others strangers."""


def with_certainty(
    declared: Head, network: Network, train: Callable[[], Encoded], valid: Encoded, *, seed: int
) -> Network:
    """Return a trained network with what its declaration says about certainty; itself if that is nothing.

    A Gaussian layer comes with a temperature, or for values with a width: without one, what it says is no chance.

    Args:
        declared: says what to fit.
        network: trained, and in eval mode; the head of a tailed one is replaced in it.
        train: gives the train split, which a covariance is taken over; asked only if one is.
        valid: the valid split, which a temperature is fitted on.
        seed: of random features.

    Raises:
        InvalidHead: the valid split holds nothing to fit to.
    """
    if not declared.calibrate and declared.uncertainty == "none":
        return network
    if not valid.rows:
        raise InvalidHead(f"{declared.name!r} has no valid examples, and its certainty is fitted on them. Add some.")
    with one_thread():
        return _certain(declared, network, train, valid, seed)


def naming_uncertainty(answer: Answer, network: Network) -> Answer:
    """Return an answer that names the output of the uncertainty, if the network has one."""
    has = any(each.name == UNCERTAINTY for each in head_of(network).outputs)
    return answer.model_copy(update={"uncertainty": UNCERTAINTY}) if has else answer


def _certain(declared: Head, network: Network, train: Callable[[], Encoded], valid: Encoded, seed: int) -> Network:
    # A network may be on a GPU; sums over a split are exact enough only in float64, and small.
    head, reached = copy.deepcopy(head_of(network)).cpu(), reach(network, valid.reduced)
    if declared.uncertainty == "none":
        fitted = CertainHead(head)
    else:
        data = train()
        fitted = _with_layer(declared, head, (reach(network, data.reduced), reached), (data, valid), seed)
    _set_scale(fitted, reached, valid)
    fitted.to(device_of(network))
    if isinstance(network, TailedHead):
        network.head = fitted
        return network
    return fitted


def _with_layer(
    declared: Head, head: HeadStage, reduced: tuple[Reduced, Reduced], splits: tuple[Encoded, Encoded], seed: int
) -> CertainHead:
    """Return the head with a Gaussian layer in the place of its last, fitted to the train and the valid split."""
    body = Body(head, keeps_distance=declared.uncertainty == "gp")
    train, valid = (
        Observed(features=torch.stack(rows_of(body, rows)), targets=targets_of(data, head.task))
        for rows, data in zip(reduced, splits, strict=True)
    )
    noise = _noise(head, reduced[1], valid.targets) if isinstance(head.task, Regress) else 0.0
    layer: GaussianLayer
    if declared.uncertainty == "laplace":
        layer = fit_laplace(last_linear(head)[1], train.features, train.targets, head.task, noise)
    else:
        layer = fit_gaussian_process(train, valid, head.task, noise=noise, seed=seed)
    return CertainHead(head, body, layer, noise=noise)


def _noise(head: HeadStage, reduced: Reduced, shares: Tensor) -> float:
    """Return the standard deviation of values around what the trained head answers, as a share of the range."""
    found = torch.stack(rows_of(head.logits, reduced)).sigmoid()
    return max(_LEAST_NOISE, float((found - shares).square().mean().sqrt()))


def _set_scale(head: CertainHead, reduced: Reduced, valid: Encoded) -> None:
    """Fit the temperature and what is usual; of values, the width of greatest likelihood (Laves et al. 2020)."""
    if isinstance(head.task, Regress):
        residuals, deviations = residuals_of(head, reduced, valid)
        head.widening.fill_(float((residuals / deviations).square().mean().sqrt()))
    else:
        head.temperature.fill_(fit_temperature(flat_logits(head, reduced, valid), targets_of(valid, head.task)))
    if head.judges_distance:
        logarithms = torch.stack(rows_of(lambda *rows: head.moments(*rows)[1], reduced)).log()
        head.usual.fill_(float(logarithms.mean()))
        head.deviation.fill_(max(_LEAST_DEVIATION, float(logarithms.std(correction=0))))
