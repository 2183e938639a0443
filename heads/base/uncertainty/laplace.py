"""A last-layer Laplace approximation: what the training data leave open about the weights of the last layer.

Its posterior is a Gaussian around the trained weights, with the curvature of the loss as precision (MacKay 1992;
Daxberger et al. 2021). For one output that is exact Gauss-Newton; for several, Kronecker-factored: one factor for
what the layer reads, and one for its outputs (Ritter et al. 2018). Nothing is trained; it takes one pass.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.declaration import Multilabel, Regress, Task

__all__ = ["LaplaceLayer", "Posterior", "fit_laplace", "mean_field", "posterior_of"]

_PRECISIONS = torch.logspace(-4, 4, 81, dtype=torch.float64)
"""Of the prior: those that are tried."""


def mean_field(means_NC: Tensor, variances_NC: Tensor) -> Tensor:
    """Return the logits whose probabilities are about the mean ones over Gaussian logits.

    MacKay's (1992) approximation for a sigmoid, applied to each class as in Lu et al. 2020: ``m / sqrt(1 + π v / 8)``.
    It moves towards 0 and never past it.

    Args:
        means_NC: mean logits; for a softmax, centred.
        variances_NC: (N, C), or (N, 1) for all classes.
    """
    return means_NC / torch.sqrt(1 + math.pi / 8 * variances_NC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """Gaussian weights: precision ``inputs ⊗ outputs + precision · I``, by eigenvalues and eigenvectors of both.

    Attributes:
        inputs: curvature along each direction of what the layer reads, its bias included, summed over the rows; (D,).
        directions: these directions, in columns; (D, D).
        outputs: curvature along each direction of the outputs; (C,).
        mixes: these directions, in columns; (C, C).
        precision: of the prior, over each weight.
    """

    inputs: Tensor
    directions: Tensor
    outputs: Tensor
    mixes: Tensor
    precision: float

    def spread(self, *, shift: bool) -> Tensor:
        """Return what a unit along each direction adds to the variance of each output, (D, C).

        Args:
            shift: whether a common shift of all outputs counts; a softmax does not see it.
        """
        mixes = self.mixes if shift else self.mixes - self.mixes.mean(dim=0)
        variances = 1 / (self.inputs[:, None] * self.outputs[None] + self.precision)
        return variances @ mixes.square().T


class LaplaceLayer(nn.Module):
    """A linear layer that gives the mean and the variance of its outputs.

    Args:
        weight_CD: trained weights, (C, D).
        bias_C: trained bias.
        directions: of the posterior, (D + 1, D + 1), in columns.
        spread: variance that a unit along each of them adds, (D + 1, C) or (D + 1, 1) for all outputs alike.
    """

    def __init__(self, weight_CD: Tensor, bias_C: Tensor, directions: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight_CD.float(), requires_grad=False)
        self.bias = nn.Parameter(bias_C.float(), requires_grad=False)
        # The last row belongs to the bias: what the layer reads is not made longer for it.
        self.register_buffer("directions", directions[:-1].float().contiguous())
        self.register_buffer("offsets", directions[-1].float())
        self.register_buffer("spread", spread.float())

    directions: Tensor
    offsets: Tensor
    spread: Tensor

    def forward(self, features_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return means (N, C) and variances (N, C) or (N, 1) of the outputs."""
        along = features_ND @ self.directions + self.offsets
        return F.linear(features_ND, self.weight, self.bias), along.square() @ self.spread


def fit_laplace(linear: nn.Linear, features_ND: Tensor, targets: Tensor, task: Task, noise: float) -> LaplaceLayer:
    """Fit the approximation to a trained layer. The prior's precision is the one of largest marginal likelihood.

    Args:
        linear: the trained last layer.
        features_ND: what it reads, of the training split.
        targets: of the training split: classes (N,), 0 and 1 (N, C), or values (N, 1) as shares of the task's range.
        task: classify, multilabel or regress.
        noise: standard deviation of the values around what is answered, as a share of the range; for regress.

    Returns:
        The layer. For classify all classes have one variance, the mean of theirs: a row's probabilities then keep their
        order, so that no answer changes, and a common shift of the logits has no part in it.
    """
    weight_CD = linear.weight.detach().double()
    bias_C = torch.zeros(len(weight_CD)) if linear.bias is None else linear.bias.detach()
    whole = torch.cat((weight_CD, bias_C.double()[:, None]), dim=1)
    longer = torch.cat((features_ND.double(), torch.ones(len(features_ND), 1, dtype=torch.float64)), dim=1)
    posterior = posterior_of(longer, longer @ whole.T, targets, whole, task, noise)
    several = isinstance(task, Multilabel | Regress)
    spread = posterior.spread(shift=several)
    if not several:
        whole = whole - whole.mean(dim=0)
        spread = spread.mean(dim=1, keepdim=True)
    return LaplaceLayer(whole[:, :-1], whole[:, -1], posterior.directions, spread)


def posterior_of(
    features_ND: Tensor, logits_NC: Tensor, targets: Tensor, weight_CD: Tensor, task: Task, noise: float
) -> Posterior:
    """Return the posterior over the weights of a linear layer, in float64.

    Args:
        features_ND: what the layer reads, with a 1 at the end for the bias.
        logits_NC: what it gives.
        targets: as ``fit_laplace`` takes them.
        weight_CD: its weights, the bias last.
        task: classify, multilabel or regress.
        noise: as ``fit_laplace`` takes it.
    """
    if isinstance(task, Regress):
        share = logits_NC.sigmoid()
        weighted = features_ND * (share * (1 - share)) / noise
        inputs, outputs = weighted.T @ weighted, torch.ones(1, 1, dtype=torch.float64)
        likelihood = -float((share - targets).square().sum()) / (2 * noise**2)
    else:
        inputs, outputs = features_ND.T @ features_ND, _output_curvature(logits_NC, task)
        likelihood = -float(_nll_sum(logits_NC, targets, task))
    inputs_D, directions_DD = torch.linalg.eigh(inputs)
    outputs_C, mixes_CC = torch.linalg.eigh(outputs)
    inputs_D, outputs_C = inputs_D.clamp(min=0), outputs_C.clamp(min=0)
    centred = weight_CD - weight_CD.mean(dim=0) if task.kind == "classify" else weight_CD
    weights = float(centred.square().sum())
    return Posterior(
        inputs=inputs_D,
        directions=directions_DD,
        outputs=outputs_C,
        mixes=mixes_CC,
        precision=_likeliest_precision(inputs_D[:, None] * outputs_C[None], weights, likelihood),
    )


def _likeliest_precision(curvature_DC: Tensor, weights: float, likelihood: float) -> float:
    """Return the prior precision of largest marginal likelihood (MacKay 1992; Immer et al. 2021)."""
    found = (
        likelihood
        - _PRECISIONS * weights / 2
        - torch.log1p(curvature_DC.flatten()[None] / _PRECISIONS[:, None]).sum(dim=1) / 2
    )
    return float(_PRECISIONS[found.argmax()])


def _output_curvature(logits_NC: Tensor, task: Task) -> Tensor:
    """Return the mean Hessian of the loss by the logits, (C, C)."""
    if isinstance(task, Multilabel):
        p = logits_NC.sigmoid()
        return torch.diag((p * (1 - p)).mean(dim=0))
    p = logits_NC.softmax(dim=-1)
    return torch.diag(p.mean(dim=0)) - p.T @ p / len(p)


def _nll_sum(logits_NC: Tensor, targets: Tensor, task: Task) -> Tensor:
    if isinstance(task, Multilabel):
        return F.binary_cross_entropy_with_logits(logits_NC, targets.double(), reduction="sum")
    return F.cross_entropy(logits_NC, targets, reduction="sum")
