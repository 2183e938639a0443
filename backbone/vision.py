"""Image backbones: timm's vision transformers and ConvNeXts, taken apart into what precedes the blocks and blocks."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from backbone.errors import UnsupportedModel
from backbone.preprocessing import ImageTransform
from backbone.stage import Stage, TensorDeclaration

__all__ = ["ImageStage", "count_blocks", "image_stages"]


class ImageStage(Stage):
    """Consecutive blocks of an image model; the first stage also embeds, the last one also normalises.

    Args:
        name: what people call it, e.g. ``vit/0``.
        architecture: JSON that, with the weights, rebuilds it.
        reads: the one tensor it takes.
        gives: the one tensor it returns.
        parts: run one after the other.
    """

    def __init__(
        self,
        *,
        name: str,
        architecture: dict[str, Any],
        reads: TensorDeclaration,
        gives: TensorDeclaration,
        parts: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        self.name = name
        self.architecture = architecture
        self.inputs = (reads,)
        self.outputs = (gives,)
        self.parts = nn.Sequential(*parts)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the parts on images, or on what the stage before returned; float32 throughout."""
        (hidden,) = tensors
        return (self.parts(hidden),)

    def block_parts(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Return each block; the normalisation at the very end goes with the last one; see ``Stage``."""
        first, end = self.architecture["blocks"]
        begin = 1 if first == 0 else 0
        *others, last = self.parts[begin : begin + end - first]
        after = self.parts[begin + end - first :]
        return (*((block,) for block in others), (last, *after))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """A model taken apart: run ``before``, all ``blocks`` and ``after`` in a row for the model's own features."""

    adapter: str
    features: str
    config: dict[str, Any]
    before: nn.Module
    blocks: tuple[nn.Module, ...]
    after: nn.Module


class _Embedding(nn.Module):
    """Images to the tokens that enter the first block of a vision transformer.

    It is the model itself with everything behind the tokens left out, so that class tokens, register tokens and
    position embeddings of every variant are added by the variant's own code.
    """

    _KEPT = ("patch_embed", "pos_drop", "patch_drop", "norm_pre")

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        left_out = {id(part): nn.Sequential() for name, part in model.named_children() if name not in self._KEPT}
        shared = {id(weight): weight for weight in model.parameters()}
        self.model = copy.deepcopy(model, {**left_out, **shared})

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return tokens_NTD."""
        tokens_NTD: Tensor = self.model.forward_features(images_NCHW)  # type: ignore[operator]
        return tokens_NTD


def _vision_transformer(model: Any) -> _Parts:
    first = model.blocks[0]
    return _Parts(
        adapter="backbone.vit/1",
        features="tokens_NTD",
        config={
            "heads": int(first.attn.num_heads),
            "activation": type(first.mlp.act).__name__,
            "norm": type(first.norm1).__name__,
            "norm_eps": float(first.norm1.eps),
        },
        before=_Embedding(model),
        blocks=tuple(model.blocks),
        after=model.norm,
    )


def _convnext(model: Any) -> _Parts:
    first = model.stages[0].blocks[0]
    return _Parts(
        adapter="backbone.convnext/1",
        features="features_NCHW",
        config={
            "depths": [len(stage.blocks) for stage in model.stages],
            "conv_mlp": bool(first.use_conv_mlp),
            "activation": type(first.mlp.act).__name__,
            "norm": type(first.norm).__name__,
            "norm_eps": float(first.norm.eps),
        },
        before=model.stem,
        blocks=tuple(block for stage in model.stages for block in _convnext_blocks(stage)),
        after=model.norm_pre,
    )


def _convnext_blocks(stage: Any) -> list[nn.Module]:
    """A resolution's blocks; going down to it belongs to the first of them."""
    first, *others = stage.blocks
    return [nn.Sequential(stage.downsample, first), *others]


def _take_apart(model: nn.Module) -> _Parts:
    """Return the parts of a model.

    Raises:
        UnsupportedModel: it is of another kind, or computes its features in a way of its own.
    """
    from timm.models.convnext import ConvNeXt
    from timm.models.vision_transformer import VisionTransformer

    adapters: dict[Any, Callable[[Any], _Parts]] = {
        VisionTransformer: _vision_transformer,
        ConvNeXt: _convnext,
    }
    for kind, take in adapters.items():
        # A subclass with another order of parts would give other features than its stages.
        if isinstance(model, kind) and cast("Any", type(model)).forward_features is kind.forward_features:
            return take(model)
    raise UnsupportedModel(
        f"There is no adapter for timm models of class {type(model).__name__}; supported: "
        f"{', '.join(kind.__name__ for kind in adapters)} and their variants that compute features in the same order "
        "(DeiT among them)."
    )


def count_blocks(model: nn.Module) -> int:
    """Return at how many places, plus one, the model can be cut."""
    return len(_take_apart(model).blocks)


def image_stages(
    model: nn.Module, architecture: str, transform: ImageTransform, name: str, ranges: Sequence[tuple[int, int]]
) -> tuple[ImageStage, ...]:
    """Cut an image model into stages that share its weights.

    Args:
        model: as timm made it.
        architecture: timm's name of what it is.
        transform: says the size of the images.
        name: the backbone's; stage k is named ``name/k``.
        ranges: (first, end) blocks of every stage.
    """
    parts = _take_apart(model)
    hidden = torch.zeros(1, 3, transform.height, transform.width)
    reads = _declaration("images_NCHW", hidden)
    stages: list[ImageStage] = []
    for number, (first, end) in enumerate(ranges):
        before = [parts.before] if first == 0 else []
        after = [parts.after] if end == len(parts.blocks) else []
        modules = [*before, *parts.blocks[first:end], *after]
        with torch.no_grad():  # only for the shapes at the cuts
            hidden = nn.Sequential(*modules)(hidden)
        gives = _declaration(parts.features, hidden)
        stages.append(
            ImageStage(
                name=f"{name}/{number}",
                architecture={
                    "adapter": parts.adapter,
                    "model": architecture,
                    "config": parts.config,
                    "blocks": [first, end],
                    "last": bool(after),
                },
                reads=reads,
                gives=gives,
                parts=modules,
            ).eval()
        )
        reads = gives
    return tuple(stages)


def _declaration(name: str, example: Tensor) -> TensorDeclaration:
    return TensorDeclaration(name=name, dtype="float32", shape=("N", *example.shape[1:]))
