"""Text backbones: transformers encoders, taken apart into embeddings and blocks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backbone.errors import UnsupportedModel
from backbone.stage import Stage, TensorDeclaration

__all__ = ["FAMILIES", "Family", "TextStage", "text_stages"]

ADAPTER = "backbone.text/1"
"""Part of every stage's identity: a change to what a stage computes needs a new number."""

IDS = TensorDeclaration(name="ids_NT", dtype="int64", shape=("N", "T"))
MASK = TensorDeclaration(name="mask_NT", dtype="int64", shape=("N", "T"))


class TextStage(Stage):
    """Consecutive blocks of an encoder; the first stage of a backbone embeds the token ids before them.

    Args:
        name: what people call it, e.g. ``minilm/0``.
        architecture: JSON that, with the weights, rebuilds it.
        width: size of a token's vector.
        embeddings: token ids to vectors, in the first stage only.
        position_bias: what it adds to all attention scores, for families that have such a thing.
        blocks: the encoder's own layers.
    """

    def __init__(
        self,
        *,
        name: str,
        architecture: dict[str, Any],
        width: int,
        embeddings: nn.Module | None,
        position_bias: nn.Module | None,
        blocks: Sequence[nn.Module],
    ) -> None:
        super().__init__()
        tokens = TensorDeclaration(name="tokens_NTD", dtype="float32", shape=("N", "T", width))
        self.name = name
        self.architecture = architecture
        self.inputs = (tokens if embeddings is None else IDS, MASK)
        self.outputs = (tokens,)
        self.embeddings = embeddings
        self.position_bias = position_bias
        self.blocks = nn.ModuleList(blocks)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Run the blocks.

        Args:
            tensors: ``ids_NT`` int64 or ``tokens_NTD`` float32, then ``mask_NT`` int64, 1 where there is a token.

        Returns:
            ``tokens_NTD`` float32.
        """
        first, mask_NT = tensors
        hidden_NTD = first if self.embeddings is None else self.embeddings(first)
        bias_N11T = additive_mask(mask_NT)
        extra = () if self.position_bias is None else (self.position_bias(mask_NT),)
        for block in self.blocks:
            result = block(hidden_NTD, bias_N11T, *extra)
            hidden_NTD = result[0] if isinstance(result, tuple) else result
        return (hidden_NTD,)

    def block_parts(self) -> tuple[tuple[nn.Module, ...], ...]:
        """Return each layer of the encoder; see ``Stage``."""
        return tuple((block,) for block in self.blocks)


def additive_mask(mask_NT: Tensor) -> Tensor:
    """Return what to add to attention scores: 0 where there is a token, the lowest float32 where there is padding.

    transformers expands its mask to (N, 1, T, T), and leaves it out where nothing is padded. Broadcasting and
    adding 0 give the same bits, and keep the graph free of a branch on the data that could not be exported.

    Args:
        mask_NT: int64, 1 where there is a token and 0 where there is padding.

    Returns:
        (N, 1, 1, T) float32.
    """
    padding_N11T = mask_NT[:, None, None, :] == 0
    return padding_N11T.to(torch.float32) * torch.finfo(torch.float32).min


class RelativePositionBias(nn.Module):
    """MPNet's learned bias by token distance, shared by all its blocks; every stage holds the same small table."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.table: nn.Module = encoder.get_submodule("relative_attention_bias")
        self._bucket: Callable[..., Tensor] = type(encoder).relative_position_bucket  # type: ignore[attr-defined]
        self._buckets = 32  # MPNetEncoder computes with its default, whatever the configuration says

    def forward(self, mask_NT: Tensor) -> Tensor:
        """Return the bias as (1, heads, T, T) float32."""
        # Counting the mask's entries, unlike arange, names no device: the trace runs wherever its input lies.
        positions_T = torch.ones_like(mask_NT[0]).cumsum(0) - 1
        distance_TT = positions_T[None, :] - positions_T[:, None]
        bias_TTH = self.table(self._bucket(distance_TT, num_buckets=self._buckets))
        result: Tensor = bias_TTH.permute([2, 0, 1]).unsqueeze(0)
        return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """How to take one family of encoders apart.

    Attributes:
        fields: the configuration keys that, with the weights, fix the arithmetic.
        width: the configuration key of a token vector's size.
        blocks: the path of the list of layers in the model.
        embed: picks the module from token ids to vectors.
        positions: the longest text in tokens that the position table allows.
        position_bias: builds what is added to all attention scores, if the family has it.
    """

    fields: tuple[str, ...]
    width: str = "hidden_size"
    blocks: str = "encoder.layer"
    embed: Callable[[nn.Module], nn.Module]
    positions: Callable[[Any], int]
    position_bias: Callable[[nn.Module], nn.Module] | None = None


def _embeddings(model: nn.Module) -> nn.Module:
    return model.get_submodule("embeddings")


def _projected_embeddings(model: nn.Module) -> nn.Module:
    """ELECTRA may embed in fewer dimensions than it computes in."""
    projection = getattr(model, "embeddings_project", None)
    return _embeddings(model) if projection is None else nn.Sequential(_embeddings(model), projection)


def _all_positions(config: Any) -> int:
    return int(config.max_position_embeddings)


def _positions_after_padding(config: Any) -> int:
    """Of a model that counts positions from ``pad_token_id + 1`` on."""
    return int(config.max_position_embeddings) - int(config.pad_token_id) - 1


_BERT_FIELDS = ("hidden_size", "num_attention_heads", "intermediate_size", "hidden_act", "layer_norm_eps")
_ROBERTA = Family(fields=(*_BERT_FIELDS, "pad_token_id"), embed=_embeddings, positions=_positions_after_padding)

FAMILIES: dict[str, Family] = {
    "bert": Family(fields=_BERT_FIELDS, embed=_embeddings, positions=_all_positions),
    "camembert": _ROBERTA,
    "distilbert": Family(
        fields=("dim", "n_heads", "hidden_dim", "activation"),
        width="dim",
        blocks="transformer.layer",
        embed=_embeddings,
        positions=_all_positions,
    ),
    "electra": Family(fields=(*_BERT_FIELDS, "embedding_size"), embed=_projected_embeddings, positions=_all_positions),
    "mpnet": Family(
        fields=(*_BERT_FIELDS, "relative_attention_num_buckets"),
        embed=_embeddings,
        # its padding id is fixed in the embeddings, whatever the configuration says
        positions=lambda config: int(config.max_position_embeddings) - 2,
        position_bias=lambda model: RelativePositionBias(model.get_submodule("encoder")),
    ),
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""transformers' ``model_type`` to how such a model is taken apart."""


def family_of(config: Any) -> Family:
    """Return the family of a transformers configuration.

    Raises:
        UnsupportedModel: there is no adapter for it, or it is not a plain encoder.
    """
    kind = str(config.model_type)
    if kind not in FAMILIES:
        raise UnsupportedModel(
            f"There is no adapter for transformers models of type '{kind}'; supported: {', '.join(sorted(FAMILIES))}. "
            "A new family is one entry of FAMILIES in backbone/text.py."
        )
    if getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False):
        raise UnsupportedModel(f"This {kind} is set up as a decoder; expected a plain encoder (is_decoder: false).")
    if getattr(config, "position_embedding_type", None) not in (None, "absolute"):
        raise UnsupportedModel(
            f"This {kind} has '{config.position_embedding_type}' positions; expected 'absolute', the only ones that "
            "transformers 5 computes."
        )
    return FAMILIES[kind]


def text_stages(model: nn.Module, config: Any, name: str, ranges: Sequence[tuple[int, int]]) -> tuple[TextStage, ...]:
    """Cut an encoder into stages that share its weights.

    Args:
        model: the model as ``AutoModel`` gives it, with eager attention.
        config: its configuration.
        name: the backbone's; stage k is named ``name/k``.
        ranges: (first, end) blocks of every stage.
    """
    family = family_of(config)
    blocks = list(model.get_submodule(family.blocks).children())
    settings = {field: getattr(config, field) for field in family.fields}
    return tuple(
        TextStage(
            name=f"{name}/{number}",
            architecture={
                "adapter": ADAPTER,
                "family": config.model_type,
                "config": settings,
                "blocks": [first, end],
            },
            width=int(getattr(config, family.width)),
            embeddings=family.embed(model) if first == 0 else None,
            position_bias=family.position_bias(model) if family.position_bias else None,
            blocks=blocks[first:end],
        ).eval()
        for number, (first, end) in enumerate(ranges)
    )
