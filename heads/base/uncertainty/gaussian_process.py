"""A Gaussian process over what a head reads, with random features: it knows how far an input is from the training's.

In SNGP's manner (Liu et al. 2020): random Fourier features of a Gaussian kernel (Rahimi & Recht 2007), a linear layer
on them, and the Laplace approximation of its covariance over the training set. The last layer of the trained head is
replaced; what is before it stays.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.declaration import Regress, Task
from heads.base.uncertainty.calibration import fit_temperature, mean_nll
from heads.base.uncertainty.laplace import mean_field

__all__ = ["FEATURES", "GaussianProcessLayer", "fit_gaussian_process"]

FEATURES = 512
"""Random features. The kernel is off by about 1 / sqrt of them; the covariance costs their square."""

_PRECISIONS = (0.003, 0.01, 0.03, 0.1, 0.3)
"""Of the prior: those that are tried."""

_SCALES = (1.0, 2.0)
"""Of the kernel, times the median distance: much wider, and the process no longer sees distance."""

_ITERATIONS = 100
_MOST_PAIRED = 512

Loss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """One split as the layer sees it.

    Attributes:
        features: what the head's last layer reads, (N, D).
        targets: classes (N,), 0 and 1 (N, C), or values (N, 1) as shares of the task's range.
    """

    features: Tensor
    targets: Tensor


class GaussianProcessLayer(nn.Module):
    """Random features and a linear layer on them, that gives the mean and the variance of its outputs.

    Args:
        frequencies: of the features, (D, M).
        phases: of the features, (M,).
        weight: of the outputs, (M, C).
        factor: of the weights' covariance, ``factor @ factor.T``; (M, M).
    """

    def __init__(self, frequencies: Tensor, phases: Tensor, weight: Tensor, factor: Tensor) -> None:
        super().__init__()
        self.register_buffer("frequencies", frequencies.float().contiguous())
        self.register_buffer("phases", phases.float())
        self.weight = nn.Parameter(weight.float().contiguous(), requires_grad=False)
        self.register_buffer("factor", factor.float().contiguous())

    frequencies: Tensor
    phases: Tensor
    factor: Tensor

    def forward(self, features_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return means (N, C), and one variance (N, 1) for all outputs, as their covariance is shared."""
        random_NM = _random_features(features_ND, self.frequencies, self.phases)
        return random_NM @ self.weight, (random_NM @ self.factor).square().sum(dim=1, keepdim=True)


def fit_gaussian_process(
    train: Observed, valid: Observed, task: Task, *, noise: float, seed: int, count: int = FEATURES
) -> GaussianProcessLayer:
    """Fit the process: its weights on the train split, its kernel's scale and its prior on the valid split.

    Args:
        train: the train split.
        valid: the valid split.
        task: classify, multilabel or regress.
        noise: standard deviation of the values around what is answered, as a share of the range; for regress.
        seed: of the random features.
        count: how many random features.

    Raises:
        InvalidHead: there is nothing to tell apart in the valid split.
    """
    draw = torch.Generator().manual_seed(seed)
    width = train.features.shape[1]
    directions = torch.randn(width, count, generator=draw, dtype=torch.float64)
    phases = torch.rand(count, generator=draw, dtype=torch.float64) * 2 * math.pi
    distance = median_distance(train.features.double())
    best, least = None, math.inf
    for scale in _SCALES:
        frequencies = directions / (scale * distance)
        for precision in _PRECISIONS:
            layer = _fit(train, frequencies, phases, task, precision, noise)
            found = _judge(layer, valid, task, noise)
            if found < least:
                best, least = layer, found
    assert best is not None
    return best


def median_distance(features_ND: Tensor) -> Tensor:
    """Return the median distance between rows, the usual scale of a Gaussian kernel; 1 if there is but one row.

    Of many rows, some that are evenly spread are compared: labels are sorted, and the first may all be of one class.
    """
    chosen = torch.linspace(0, len(features_ND) - 1, min(_MOST_PAIRED, len(features_ND)), dtype=torch.float64)
    distances = torch.pdist(features_ND[chosen.round().long()])
    return distances.median().clamp(min=1e-6) if len(distances) else torch.ones((), dtype=torch.float64)


def _fit(
    train: Observed, frequencies: Tensor, phases: Tensor, task: Task, precision: float, noise: float
) -> GaussianProcessLayer:
    random_NM = _random_features(train.features.double(), frequencies, phases)
    outputs = 1 if isinstance(task, Regress) else len(task.labels)
    weight = _likeliest(random_NM, _loss_of(train.targets, task, noise), outputs, precision)
    certain_N = _curvature(random_NM @ weight, task, noise)
    posterior = random_NM.T @ (random_NM * certain_N[:, None])
    posterior.diagonal().add_(precision)
    # A variance is then a sum of squares, and rounding cannot make it negative.
    lower = torch.linalg.cholesky(posterior)
    identity = torch.eye(len(posterior), dtype=torch.float64)
    factor = torch.linalg.solve_triangular(lower, identity, upper=False).T
    return GaussianProcessLayer(frequencies, phases, weight, factor)


def _likeliest(random_NM: Tensor, loss: Loss, outputs: int, precision: float) -> Tensor:
    """Return the weights of largest posterior density, (M, C); the sum to minimise is convex but for regress."""
    weight = torch.zeros(random_NM.shape[1], outputs, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight], max_iter=_ITERATIONS, tolerance_grad=1e-6, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        value = loss(random_NM @ weight) + precision * weight.square().sum() / 2
        value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        return value

    optimizer.step(closure)  # type: ignore[no-untyped-call] # torch leaves it untyped
    return weight.detach()


def _loss_of(targets: Tensor, task: Task, noise: float) -> Loss:
    """Return the negative log-likelihood of the targets, summed, as a function of the logits."""
    if isinstance(task, Regress):
        return lambda logits: (logits.sigmoid() - targets).square().sum() / (2 * noise**2)
    if task.kind == "multilabel":
        return lambda logits: F.binary_cross_entropy_with_logits(logits, targets.double(), reduction="sum")
    return lambda logits: F.cross_entropy(logits, targets, reduction="sum")


def _curvature(logits_NC: Tensor, task: Task, noise: float) -> Tensor:
    """Return how much each row tells about the weights, (N,): one number, as all outputs share a covariance.

    For classes ``p (1 - p)`` of the likeliest (Liu et al. 2020, appendix), for labels the mean of theirs.
    """
    p = logits_NC.softmax(dim=-1) if task.kind == "classify" else logits_NC.sigmoid()
    if isinstance(task, Regress):
        return (p * (1 - p))[:, 0].square() / noise**2
    if task.kind == "classify":
        p = p.amax(dim=-1, keepdim=True)
    return (p * (1 - p)).mean(dim=-1)


def _judge(layer: GaussianProcessLayer, valid: Observed, task: Task, noise: float) -> float:
    """Return the mean negative log-likelihood of the valid split at its best temperature; of values, but a constant."""
    with torch.no_grad():
        means, variances = layer(valid.features)
    if isinstance(task, Regress):
        share = means.sigmoid()
        total = noise**2 + (share * (1 - share)).square() * variances
        return float(((share - valid.targets).square() / total + total.log()).mean() / 2)
    logits = mean_field(means, variances)
    return mean_nll(logits / fit_temperature(logits, valid.targets), valid.targets)


def _random_features(features_ND: Tensor, frequencies: Tensor, phases: Tensor) -> Tensor:
    """Return ``sqrt(2 / M) cos(w · x + b)``, whose product for two inputs is about their kernel."""
    return math.sqrt(2 / len(phases)) * torch.cos(features_ND @ frequencies + phases)
