"""Small stages of every shape that a path has: one that embeds, one that replaces its input, and a head."""

from typing import Any

import torch
from torch import Tensor, nn

from backbone import Stage, TensorDeclaration
from zoo.manifest import TensorSpec

IDS = TensorDeclaration(name="ids_NT", dtype="int64", shape=("N", "T"))
MASK = TensorDeclaration(name="mask_NT", dtype="int64", shape=("N", "T"))
TOKENS = TensorDeclaration(name="tokens_NTD", dtype="float32", shape=("N", "T", 8))
SCORES = TensorDeclaration(name="scores_NC", dtype="float32", shape=("N", 3))

BODY_EXAMPLE = {"ids_NT": torch.tensor([[1, 2, 3], [4, 5, 0]]), "mask_NT": torch.tensor([[1, 1, 1], [1, 1, 0]])}

GROUP_WIDTH = 16
GROUP_AVAILABLE = {
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", GROUP_WIDTH)),
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
}
GROUP_EXAMPLE = {"tokens_NTD": torch.randn(2, 3, GROUP_WIDTH), "mask_NT": torch.ones(2, 3, dtype=torch.int64)}


class Body(Stage):
    """Attention over the real tokens, and a residual."""

    def __init__(self, *, first: bool) -> None:
        super().__init__()
        self.name = f"body/{0 if first else 1}"
        self.architecture: dict[str, Any] = {"kind": "body", "first": first}
        self.inputs = (IDS if first else TOKENS, MASK)
        self.outputs = (TOKENS,)
        self.embed = nn.Embedding(50, 8) if first else nn.Identity()
        self.mix = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        first, mask_NT = tensors
        tokens_NTD = self.embed(first)
        scores_NTT = tokens_NTD @ self.mix(tokens_NTD).transpose(1, 2)
        scores_NTT = scores_NTT + (mask_NT[:, None, :] == 0) * -1e9
        return (self.norm(tokens_NTD + torch.softmax(scores_NTT, -1) @ tokens_NTD),)


class Pooled(Stage):
    """The mean of the real tokens to three probabilities."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "head"
        self.architecture: dict[str, Any] = {"kind": "pooled"}
        self.inputs = (TOKENS, MASK)
        self.outputs = (SCORES,)
        self.score = nn.Linear(8, 3)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        tokens_NTD, mask_NT = tensors
        mask_NT1 = mask_NT[:, :, None].to(tokens_NTD.dtype)
        mean_ND = (tokens_NTD * mask_NT1).sum(1) / mask_NT1.sum(1).clamp(min=1)
        return (torch.softmax(self.score(mean_ND), -1),)
