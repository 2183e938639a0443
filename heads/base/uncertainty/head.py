"""A trained head that knows how sure it is: a temperature and maybe a Gaussian last layer, in closed form."""

import copy
import math
from typing import Any, cast

import torch
from torch import Tensor, nn

from backbone.stage import TensorDeclaration
from heads.base.declaration import Multilabel, Regress, Task
from heads.base.tasks.modules import HeadStage
from heads.base.uncertainty.gaussian_process import GaussianProcessLayer
from heads.base.uncertainty.laplace import LaplaceLayer, mean_field

__all__ = ["UNCERTAINTY", "Body", "CertainHead", "GaussianLayer", "doubt", "last_linear"]

UNCERTAINTY = "uncertainty_N1"
"""The output that says how unsure an answer is."""

RARE = 0.05
"""Of the valid split, the share whose variance is so large that an input like them is not quite taken for known."""

GaussianLayer = LaplaceLayer | GaussianProcessLayer
"""Stands in for a head's last layer, and gives the mean and the variance of the logits."""


class Body(nn.Module):
    """What a head computes before its last layer.

    Args:
        head: trained. It is copied.
        keeps_distance: whether inputs that are far apart must stay so. A hidden layer folds them together, so its
            weights are divided by their largest singular value, and what it reads is passed on beside what it gives:
            what spectral normalisation and residual connections do in SNGP (Liu et al. 2020).
    """

    def __init__(self, head: HeadStage, *, keeps_distance: bool) -> None:
        super().__init__()
        self.head = copy.deepcopy(head)
        self.head.set_submodule(last_linear(self.head)[0], nn.Identity())
        hidden = [part for part in self.head.modules() if isinstance(part, nn.Linear)]
        self.passes_on = keeps_distance and bool(hidden)
        for linear in hidden if self.passes_on else ():
            linear.weight.data /= torch.linalg.matrix_norm(linear.weight.data, 2).clamp(min=1)

    def forward(self, *reduced: Tensor) -> Tensor:
        """Return what the last layer reads, (N, D)."""
        features_ND = self.head.logits(*reduced)
        return torch.cat((reduced[0], features_ND), dim=1) if self.passes_on else features_ND


class CertainHead(HeadStage):
    """A trained head with calibrated scores, and with its uncertainty as a second output if it has a Gaussian layer.

    Of labels that is the chance that the answer is wrong: 1 - the score of the likeliest class, or that of the least
    sure label. It was chosen over the entropy because calibration is measured on it, so that it can be taken at its
    word. A process counts an input as unknown too, and the answer as wrong, the more so the further out in the last
    twentieth of the valid split it lies. Of a value it is the standard deviation, in the value's unit.

    Args:
        plain: the head as it was trained. It is copied.
        body: what comes before the Gaussian layer.
        layer: in the place of its last layer; None leaves that.
        noise: standard deviation of values around what is answered, as a share of the range.
    """

    def __init__(
        self,
        plain: HeadStage,
        body: Body | None = None,
        layer: GaussianLayer | None = None,
        *,
        noise: float = 0.0,
    ) -> None:
        super().__init__(name=plain.name, task=plain.task, inputs=plain.inputs)
        self._plain = (plain,)  # not as a part: its weights are none of this head's
        self.body = copy.deepcopy(plain) if body is None else body
        self.layer = layer
        self.judges_distance = isinstance(layer, GaussianProcessLayer) and not isinstance(plain.task, Regress)
        if layer is not None:
            self.outputs = (*self.outputs, TensorDeclaration(name=UNCERTAINTY, dtype="float32", shape=("N", 1)))
        scalars = {"noise": noise, "widening": 1.0} if isinstance(plain.task, Regress) else {"temperature": 1.0}
        if self.judges_distance:
            scalars |= {"usual": 0.0, "deviation": 1.0}
        for name, value in scalars.items():
            self.register_buffer(name, torch.tensor([value], dtype=torch.float32))
        self.architecture = {"kind": "head/certain", "of": plain.architecture, **_shape(layer)}
        self.requires_grad_(False)
        self.eval()

    temperature: Tensor
    """What logits are divided by."""

    noise: Tensor
    widening: Tensor
    """What a standard deviation is multiplied by."""

    usual: Tensor
    """Mean of the logarithm of the variance over the valid split."""

    deviation: Tensor
    """Standard deviation of the same."""

    @property
    def plain(self) -> HeadStage:
        """The head as it was trained."""
        return self._plain[0]

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Turn the declared inputs into what ``logits`` takes, as the trained head does."""
        return self.plain.reduce(*inputs)

    def moments(self, *reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the variance of the logits; only with a Gaussian layer."""
        assert self.layer is not None
        return cast("tuple[Tensor, Tensor]", self.layer(self.body(*reduced)))

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return calibrated scores before the final step; of a value, the mean."""
        if isinstance(self.body, HeadStage):
            return self._cooled(self.body.logits(*reduced))
        return self._adjusted(*self.moments(*reduced))

    def certain(self, *reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Return the final output, and how unsure it is, (N, 1); only with a Gaussian layer."""
        means, variances = self.moments(*reduced)
        final = self.finish(self._adjusted(means, variances))
        if isinstance(self.task, Regress):
            share = means.sigmoid()
            # The delta method: a sigmoid is about as steep around its mean as at it.
            total = self.noise.square() + (share * (1 - share)).square() * variances
            return final, (self.task.high - self.task.low) * self.widening * total.sqrt()
        wrong = doubt(final, self.task)
        return final, 1 - (1 - wrong) * self._familiarity(variances) if self.judges_distance else wrong

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the declared outputs: the final one, and the uncertainty if there is one."""
        reduced = self.reduce(*tensors)
        return (self.finish(self.logits(*reduced)),) if self.layer is None else self.certain(*reduced)

    def _familiarity(self, variances_N1: Tensor) -> Tensor:
        """Return 1 for what is as near as usual, towards 0 for what is further out than all of the valid split.

        The share of the valid split that would be further out, by a Gaussian of the logarithm, over ``RARE``.
        """
        distance = (variances_N1.log() - self.usual) / self.deviation
        return ((1 - torch.erf(distance / math.sqrt(2))) / (2 * RARE)).clamp(max=1)

    def _adjusted(self, means: Tensor, variances: Tensor) -> Tensor:
        return means if isinstance(self.task, Regress) else self._cooled(mean_field(means, variances))

    def _cooled(self, logits: Tensor) -> Tensor:
        return logits / self.temperature


def doubt(scores_NC: Tensor, task: Task) -> Tensor:
    """Return the chance that an answer is wrong, (N, 1): of the likeliest class, or of the least sure label."""
    if isinstance(task, Multilabel):
        return torch.minimum(scores_NC, 1 - scores_NC).amax(dim=-1, keepdim=True)
    return 1 - scores_NC.amax(dim=-1, keepdim=True)


def last_linear(head: HeadStage) -> tuple[str, nn.Linear]:
    """Return the layer of a head that gives its logits, and its name."""
    return [(name, part) for name, part in head.named_modules() if isinstance(part, nn.Linear)][-1]


def _shape(layer: GaussianLayer | None) -> dict[str, Any]:
    if layer is None:
        return {"uncertainty": "none"}
    if isinstance(layer, LaplaceLayer):
        return {"uncertainty": "laplace"}
    return {"uncertainty": "gp", "features": len(layer.phases)}
