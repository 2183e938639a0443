"""A trained head that knows how sure it is: a temperature and maybe a Gaussian last layer, in closed form."""

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from backbone.stage import TensorDeclaration
from heads.base.declaration import Multilabel, Regress, Task
from heads.base.gaussian_process import GaussianProcessLayer
from heads.base.laplace import LaplaceLayer, mean_field
from heads.base.modules import HeadStage

__all__ = ["UNCERTAINTY", "CertainHead", "GaussianLayer", "doubt", "last_linear"]

UNCERTAINTY = "uncertainty_N1"
"""The output that says how unsure an answer is."""

GaussianLayer = LaplaceLayer | GaussianProcessLayer
"""Stands in for a head's last layer, and gives the mean and the variance of the logits."""


class CertainHead(HeadStage):
    """A trained head with calibrated scores, and with its uncertainty as a second output if it has a Gaussian layer.

    What it says is the chance that the answer is wrong: 1 - the score of the likeliest class; of labels, that of the
    least sure one. It was chosen over the entropy because calibration is measured on it, so that it can be taken at its
    word. For a value it is the standard deviation, in the value's unit.

    Args:
        plain: the head as it was trained. It is copied.
        layer: in the place of its last layer; None leaves that.
        temperature: what the logits are divided by.
        noise: standard deviation of values around what is answered, as a share of the range.
        widening: what a standard deviation is multiplied by.
    """

    def __init__(
        self,
        plain: HeadStage,
        layer: GaussianLayer | None,
        *,
        temperature: float = 1.0,
        noise: float = 0.0,
        widening: float = 1.0,
    ) -> None:
        super().__init__(name=plain.name, task=plain.task, inputs=plain.inputs)
        self._plain = (plain,)  # not as a part: its weights are none of this head's
        self.body = copy.deepcopy(plain)
        self.layer = layer
        if layer is not None:
            self.body.set_submodule(last_linear(self.body)[0], nn.Identity())
            self.outputs = (*self.outputs, TensorDeclaration(name=UNCERTAINTY, dtype="float32", shape=("N", 1)))
        scalars = {"noise": noise, "widening": widening} if isinstance(plain.task, Regress) else {}
        for name, value in scalars.items() or {"temperature": temperature}.items():
            self.register_buffer(name, torch.tensor([value], dtype=torch.float32))
        self.architecture = {"kind": "head/certain", "of": plain.architecture, **_shape(layer)}
        self.requires_grad_(False)
        self.eval()

    temperature: Tensor
    noise: Tensor
    widening: Tensor

    @property
    def plain(self) -> HeadStage:
        """The head as it was trained."""
        return self._plain[0]

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Turn the declared inputs into what ``logits`` takes, as the trained head does."""
        return self.body.reduce(*inputs)

    def moments(self, *reduced: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean and the variance of the logits; only with a Gaussian layer."""
        assert self.layer is not None
        return cast("tuple[Tensor, Tensor]", self.layer(self.body.logits(*reduced)))

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return calibrated scores before the final step; of a value, the mean."""
        if self.layer is None:
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
        return final, doubt(final, self.task)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the declared outputs: the final one, and the uncertainty if there is one."""
        reduced = self.reduce(*tensors)
        return (self.finish(self.logits(*reduced)),) if self.layer is None else self.certain(*reduced)

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
