"""The networks of heads: one stage at the end of a path, from the backbone's tokens or features to a final answer.

A head trains on logits and answers with probabilities, values or vectors; both come from the same module. Padding
never changes a row's answer: whatever looks at more than one token looks through the mask.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.stage import Stage, TensorDeclaration
from heads.base.declaration import Embed, Head, Multilabel, Regress, Segment, Tag, Task
from heads.base.errors import InvalidHead
from heads.base.network import Layer, Network
from heads.base.recipe import Recipe
from zoo.manifest import TensorSpec

__all__ = ["HeadStage", "PooledHead", "SegmentHead", "TagHead", "make_head"]

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
        """Return scores before the final step, (N, C), (N, T, K) or (N, C, H, W)."""
        raise NotImplementedError

    def finish(self, logits: Tensor) -> Tensor:
        """Turn logits into the final output: probabilities, values between the task's low and high, or unit vectors."""
        if isinstance(self.task, Regress):
            return self.task.low + (self.task.high - self.task.low) * logits.sigmoid()
        if isinstance(self.task, Embed):
            return F.normalize(logits, dim=-1)
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
        task: classify, multilabel, regress or embed.
        inputs: ``tokens_NTD`` (and ``mask_NT``), or ``features_NCHW``.
        recipe: its shape: pool, hidden and dropout.
    """

    def __init__(self, *, name: str, task: Task, inputs: tuple[TensorDeclaration, ...], recipe: Recipe) -> None:
        super().__init__(name=name, task=task, inputs=inputs)
        self.pool = recipe.pool
        size = int(inputs[0].shape[1 if inputs[0].name == "features_NCHW" else 2])
        self.width = size * (2 if self.pool == "mean_max" else 1)
        self.scores = _layers(self.width, recipe, _width_of(task))
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


class SegmentHead(HeadStage):
    """Gives each pixel the probability of each label, from its cell of the feature map and the cells around that.

    A cell is decided in ``detail`` × ``detail`` parts, whose scores are channels of the last layer (sub-pixel
    convolution: Shi et al. 2016); from there they are interpolated to the size of the input.

    Args:
        name: the stage's name.
        task: the labels of the pixels, and the detail.
        inputs: ``features_NCHW``, or the ``tokens_NTD`` of a square image's patches.
        size: height and width of the input, in pixels.
        recipe: its shape: hidden, context and dropout.
    """

    def __init__(
        self,
        *,
        name: str,
        task: Segment,
        inputs: tuple[TensorDeclaration, ...],
        size: tuple[int, int],
        recipe: Recipe,
    ) -> None:
        super().__init__(name=name, task=task, inputs=inputs)
        self.outputs = (TensorDeclaration(name="scores_NCHW", dtype="float32", shape=("N", len(task.labels), *size)),)
        self.size = size
        self.grid = _grid_of(inputs[0])
        self.width = int(inputs[0].shape[1 if inputs[0].name == "features_NCHW" else 2])
        self.detail = task.detail
        channels = len(task.labels) * task.detail**2
        self.dropout = nn.Dropout(recipe.dropout)
        if recipe.hidden:
            self.mix = nn.Conv2d(self.width, recipe.hidden, 2 * recipe.context + 1, padding=recipe.context)
        self.hidden = recipe.hidden
        self.scores = nn.Conv2d(self.hidden or self.width, channels, 2 * recipe.context + 1, padding=recipe.context)
        shape = {"hidden": recipe.hidden, "context": recipe.context, "detail": task.detail, "size": list(size)}
        self.architecture = _architecture("segment", task, shape)

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Return the feature map, (N, C, H, W), normalised over the channels of each cell."""
        if self.inputs[0].name == "features_NCHW":
            cells_NHWC = inputs[0].permute(0, 2, 3, 1)
        else:  # what is before the patches tells of the whole image
            patches_NTD = inputs[0][:, -self.grid[0] * self.grid[1] :]
            cells_NHWC = patches_NTD.reshape(-1, *self.grid, self.width)
        return (F.layer_norm(cells_NHWC, (self.width,)).permute(0, 3, 1, 2).contiguous(),)

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return (N, C, H, W) scores of every pixel of the input."""
        hidden_NCHW = self.dropout(reduced[0])
        if self.hidden:
            hidden_NCHW = self.dropout(F.gelu(self.mix(hidden_NCHW)))
        scores_NCHW = F.pixel_shuffle(self.scores(hidden_NCHW), self.detail)
        return F.interpolate(scores_NCHW, size=self.size, mode="bilinear", align_corners=False)

    def finish(self, logits: Tensor) -> Tensor:
        """Turn logits into the probability of each label; of rows with or without the N axis."""
        return logits.softmax(dim=-3)


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
    if isinstance(head.task, Segment):
        return _make_segment_head(name, head, head.task, recipe, available, inputs)
    if isinstance(head.task, Tag):
        return TagHead(name=name, task=head.task, inputs=inputs, recipe=recipe)
    return PooledHead(name=name, task=head.task, inputs=inputs, recipe=recipe)


def _make_segment_head(
    name: str,
    head: Head,
    task: Segment,
    recipe: Recipe,
    available: Mapping[str, TensorSpec],
    inputs: tuple[TensorDeclaration, ...],
) -> SegmentHead:
    if "images_NCHW" not in available:
        raise InvalidHead(
            f"A segment head labels the pixels of an image; {head.backbone!r} takes {', '.join(available)}. Choose an "
            "image backbone, or another kind of head."
        )
    height, width = (int(side) for side in available["images_NCHW"].shape[2:])
    if inputs[0].name != "features_NCHW" and height != width:
        raise InvalidHead(
            f"A segment head finds the places of {inputs[0].name} in square images only; those of {head.backbone!r} "
            f"are {width} × {height}. Choose a backbone that gives features_NCHW."
        )
    return SegmentHead(name=name, task=task, inputs=inputs[:1], size=(height, width), recipe=recipe)


def _grid_of(declared: TensorDeclaration) -> tuple[int, int]:
    """Return how many cells a feature map, or the patches of a square image, have in height and width.

    A few tokens that stand for no patch (class, registers) come before those that do.
    """
    if declared.name == "features_NCHW":
        return int(declared.shape[2]), int(declared.shape[3])
    side = math.isqrt(int(declared.shape[1]))
    return side, side


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
    return {"kind": f"head/{kind}", "task": task.kind, "outputs": _width_of(task), **scale, **shape}


def _width_of(task: Task) -> int:
    """Return how many numbers a row, a token or a pixel is given, tags of tokens aside."""
    return task.dim if isinstance(task, Embed) else len(task.labels) or 1


def _declaration(spec: TensorSpec) -> TensorDeclaration:
    assert spec.dtype in ("float32", "int64"), f"a stage declares {spec.name!r} as {spec.dtype}"
    return TensorDeclaration(name=spec.name, dtype=spec.dtype, shape=spec.shape)


def _output_of(task: Task) -> TensorDeclaration:
    if isinstance(task, Tag):
        shape: tuple[int | str, ...] = ("N", "T", 1 + 2 * len(task.labels))
        return TensorDeclaration(name="scores_NTK", dtype="float32", shape=shape)
    if isinstance(task, Regress):
        return TensorDeclaration(name="values_N1", dtype="float32", shape=("N", 1))
    if isinstance(task, Embed):
        return TensorDeclaration(name="vectors_ND", dtype="float32", shape=("N", task.dim))
    return TensorDeclaration(name="scores_NC", dtype="float32", shape=("N", len(task.labels)))
