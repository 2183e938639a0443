"""The networks of heads: one stage at the end of a path, from the backbone's tokens or features to a final answer.

A head trains on logits and answers with probabilities or values; both come from the same module. Padding
never changes a row's answer: whatever looks at more than one token looks through the mask.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.stage import Stage, TensorDeclaration
from heads.base.declaration import Head, Multilabel, Regress, Tag, Task
from heads.base.errors import InvalidHead
from heads.base.network import Layer, Network
from heads.base.recipe import Recipe
from zoo.manifest import TensorSpec

__all__ = ["HeadStage", "PooledHead", "TagHead", "make_head"]

_FAR_BELOW = -1e4
"""Below every token value; finite, so that no exporter folds it to something else."""


class HeadStage(Stage, Network):
    """A head. ``reduce`` is what needs no weights, and is computed once before training.

    Args:
        name: the stage's name, as paths list it.
        task: what kind of answer.
        inputs: what it reads: tokens and maybe their mask, or a feature map.
    """

    def __init__(self, *, name: str, task: Task, inputs: tuple[TensorDeclaration, ...]) -> None:
        super().__init__()
        self.name = name
        self.task = task
        self.inputs = inputs
        self.outputs = (_output_of(task),)

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Turn the declared inputs into what ``logits`` takes, without weights."""
        raise NotImplementedError

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return scores before the final step, (N, C) or (N, T, K)."""
        raise NotImplementedError

    def finish(self, logits: Tensor) -> Tensor:
        """Turn logits into the final output: probabilities, or values between the task's low and high."""
        if isinstance(self.task, Regress):
            return self.task.low + (self.task.high - self.task.low) * logits.sigmoid()
        return logits.sigmoid() if isinstance(self.task, Multilabel) else logits.softmax(dim=-1)

    def layers(self) -> Sequence[Layer]:
        """Return the head as one layer: all of it is trained at one learning rate."""
        return (Layer(name="head", depth=0, parameters=tuple(self.parameters())),)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the one declared output."""
        return (self.finish(self.logits(*self.reduce(*tensors))),)


class PooledHead(HeadStage):
    """Pools tokens or features into one vector a row, normalises it, and maps it to the answer.

    Args:
        name: the stage's name.
        task: classify, multilabel or regress.
        inputs: ``tokens_NTD`` (and ``mask_NT``), or ``features_NCHW``.
        recipe: its shape: pool, hidden and dropout.
    """

    def __init__(self, *, name: str, task: Task, inputs: tuple[TensorDeclaration, ...], recipe: Recipe) -> None:
        super().__init__(name=name, task=task, inputs=inputs)
        self.pool = recipe.pool
        size = int(inputs[0].shape[1 if inputs[0].name == "features_NCHW" else 2])
        self.width = size * (2 if self.pool == "mean_max" else 1)
        self.scores = _layers(self.width, recipe, len(task.labels) or 1)
        self.architecture = _architecture("pooled", task, {"pool": self.pool, "hidden": recipe.hidden})

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return one normalised vector a row, (N, D)."""
        if self.inputs[0].name == "features_NCHW":
            tokens_NTD, mask_NT1 = inputs[0].flatten(2).transpose(1, 2), None
        else:
            tokens_NTD, mask_NT1 = inputs[0], inputs[1].unsqueeze(-1) if len(inputs) > 1 else None
        return (F.layer_norm(_pooled(tokens_NTD, mask_NT1, self.pool), (self.width,)),)

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return (N, C) scores of (N, D) vectors."""
        scores_NC: Tensor = self.scores(reduced[0])
        return scores_NC


class TagHead(HeadStage):
    """Gives each token the scores of the tags ``O, B-x, I-x, …`` from itself and its neighbours.

    With a hidden layer, tokens are first made narrow and mixed with their neighbours, so that the last layer
    sees twice as far. Padding is set to zero before every look at neighbours: to a row, it is the edge of its text.

    Args:
        name: the stage's name.
        task: the labels of the pieces.
        inputs: ``tokens_NTD`` and ``mask_NT``.
        recipe: its shape: hidden, context and dropout.
    """

    def __init__(self, *, name: str, task: Tag, inputs: tuple[TensorDeclaration, ...], recipe: Recipe) -> None:
        super().__init__(name=name, task=task, inputs=inputs)
        self.width = int(inputs[0].shape[2])
        self.hidden = recipe.hidden
        self.dropout = nn.Dropout(recipe.dropout)
        if self.hidden:
            self.narrow = nn.Linear(self.width, self.hidden)
            self.mix = _neighbours(self.hidden, self.hidden, recipe.context)
        self.scores = _neighbours(self.hidden or self.width, 1 + 2 * len(task.labels), recipe.context)
        self.architecture = _architecture("tag", task, {"hidden": recipe.hidden, "context": recipe.context})

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return normalised tokens (N, T, D), and their mask as (N, T, 1)."""
        tokens_NTD, mask_NT = inputs
        return F.layer_norm(tokens_NTD, (self.width,)), mask_NT.unsqueeze(-1).to(tokens_NTD.dtype)

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return (N, T, K) scores of (N, T, D) tokens and their (N, T, 1) mask."""
        hidden_NTH, mask_NT1 = self.dropout(reduced[0]) * reduced[1], reduced[1]
        if self.hidden:
            hidden_NTH = F.gelu(self.narrow(hidden_NTH)) * mask_NT1
            mixed_NTH = F.gelu(self.mix(hidden_NTH.transpose(1, 2)).transpose(1, 2))
            hidden_NTH = self.dropout(hidden_NTH + mixed_NTH) * mask_NT1
        scores_NTK: Tensor = self.scores(hidden_NTH.transpose(1, 2)).transpose(1, 2)
        return scores_NTK


def make_head(head: Head, recipe: Recipe, available: Mapping[str, TensorSpec]) -> HeadStage:
    """Return the untrained network of a head.

    Args:
        head: its declaration.
        recipe: its shape.
        available: the tensors known after the stage that it is attached to, by name.

    Raises:
        InvalidHead: the backbone gives nothing that such a head can read.
    """
    name = f"{head.name}/head"
    wanted = ("tokens_NTD", "mask_NT") if "tokens_NTD" in available else ("features_NCHW",)
    inputs = tuple(_declaration(available[key]) for key in wanted if key in available)
    if not inputs or (isinstance(head.task, Tag) and len(inputs) < 2):
        needs = "tokens_NTD and mask_NT" if isinstance(head.task, Tag) else "tokens_NTD or features_NCHW"
        raise InvalidHead(
            f"A {head.task.kind} head reads {needs}; after stage {head.attach} of {head.backbone!r} there is "
            f"{', '.join(available)}. Choose another backbone, or another kind of head."
        )
    if isinstance(head.task, Tag):
        return TagHead(name=name, task=head.task, inputs=inputs, recipe=recipe)
    return PooledHead(name=name, task=head.task, inputs=inputs, recipe=recipe)


def _pooled(tokens_NTD: Tensor, mask_NT1: Tensor | None, pool: str) -> Tensor:
    if mask_NT1 is None:
        mean_ND, largest_ND = tokens_NTD.mean(dim=1), tokens_NTD.amax(dim=1)
    else:
        weights_NT1 = mask_NT1.to(tokens_NTD.dtype)
        mean_ND = (tokens_NTD * weights_NT1).sum(dim=1) / weights_NT1.sum(dim=1).clamp(min=1)
        largest_ND = tokens_NTD.masked_fill(mask_NT1 == 0, _FAR_BELOW).amax(dim=1)
    return torch.cat((mean_ND, largest_ND), dim=1) if pool == "mean_max" else mean_ND


def _layers(width: int, recipe: Recipe, outputs: int) -> nn.Sequential:
    if not recipe.hidden:
        return nn.Sequential(nn.Dropout(recipe.dropout), nn.Linear(width, outputs))
    return nn.Sequential(
        nn.Dropout(recipe.dropout),
        nn.Linear(width, recipe.hidden),
        nn.GELU(),
        nn.Dropout(recipe.dropout),
        nn.Linear(recipe.hidden, outputs),
    )


def _neighbours(width: int, outputs: int, context: int) -> nn.Conv1d:
    """Return a layer over the channels of each token and of ``context`` tokens on each side of it."""
    return nn.Conv1d(width, outputs, kernel_size=2 * context + 1, padding=context)


def _architecture(kind: str, task: Task, shape: dict[str, Any]) -> dict[str, Any]:
    """Return what, with the weights, rebuilds the module. Dropout is not in it: it only acts in training."""
    scale = {"low": task.low, "high": task.high} if isinstance(task, Regress) else {}
    return {"kind": f"head/{kind}", "task": task.kind, "outputs": len(task.labels) or 1, **scale, **shape}


def _declaration(spec: TensorSpec) -> TensorDeclaration:
    assert spec.dtype in ("float32", "int64"), f"a stage declares {spec.name!r} as {spec.dtype}"
    return TensorDeclaration(name=spec.name, dtype=spec.dtype, shape=spec.shape)


def _output_of(task: Task) -> TensorDeclaration:
    if isinstance(task, Tag):
        shape: tuple[int | str, ...] = ("N", "T", 1 + 2 * len(task.labels))
        return TensorDeclaration(name="scores_NTK", dtype="float32", shape=shape)
    if isinstance(task, Regress):
        return TensorDeclaration(name="values_N1", dtype="float32", shape=("N", 1))
    return TensorDeclaration(name="scores_NC", dtype="float32", shape=("N", len(task.labels)))
