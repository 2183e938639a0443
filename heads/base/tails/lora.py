"""Low-rank adapters: small additions to frozen linear layers that are trained in their place, and merged in the end."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.errors import InvalidHead

__all__ = ["LowRank", "adapt", "merge"]


class LowRank(nn.Module):
    """A frozen linear layer with a trained addition of low rank: ``W x + b + (alpha / rank) B A x``.

    Hu et al. 2021, "LoRA: Low-Rank Adaptation of Large Language Models", equation 3. ``A`` starts out normally
    distributed and ``B`` as zero, so that it begins as the layer that it stands for.

    Args:
        linear: the layer, (in) to (out); it is frozen.
        rank: the size between ``A`` (rank, in) and ``B`` (out, rank).
        alpha: scales the addition, so that the learning rate need not follow the rank.

    >>> layer = LowRank(nn.Linear(4, 3), rank=2, alpha=4.0)
    >>> sum(weight.numel() for weight in layer.parameters() if weight.requires_grad)
    14
    """

    def __init__(self, linear: nn.Linear, *, rank: int, alpha: float) -> None:
        super().__init__()
        self.linear = linear.requires_grad_(False)
        weight = linear.weight
        self.a = nn.Parameter(weight.new_empty(rank, linear.in_features))
        self.b = nn.Parameter(weight.new_zeros(linear.out_features, rank))
        self.scale = alpha / rank
        nn.init.normal_(self.a, std=1 / math.sqrt(linear.in_features))

    def forward(self, values: Tensor) -> Tensor:
        """Return (…, out) of (…, in)."""
        wide: Tensor = self.linear(values)
        return wide + self.scale * F.linear(F.linear(values, self.a), self.b)

    def merged(self) -> nn.Linear:
        """Return the frozen layer with the addition in its weights; what it computes is the same, but for rounding."""
        with torch.no_grad():
            self.linear.weight += self.scale * (self.b @ self.a)
        return self.linear


def adapt(part: nn.Module, *, rank: int, alpha: float) -> None:
    """Put a ``LowRank`` in the place of every linear layer below a module.

    Args:
        part: a block, say; changed in place.
        rank: of the additions.
        alpha: their scale.

    Raises:
        InvalidHead: the rank is not below the sizes of a layer, so that nothing would be saved.
    """
    for owner, name, layer in list(_places(part, nn.Linear)):
        assert isinstance(layer, nn.Linear)
        least = min(layer.in_features, layer.out_features)
        if rank >= least:
            raise InvalidHead(
                f"The tail has rank {rank}, and a linear layer of the backbone is {layer.in_features} to "
                f"{layer.out_features}; expected a rank below {least}. Lower it, or train the layers whole: how='full'."
            )
        setattr(owner, name, LowRank(layer, rank=rank, alpha=alpha))


def merge(part: nn.Module) -> None:
    """Put the merged linear layer back in the place of every ``LowRank`` below a module; it has its old shape again."""
    for owner, name, layer in list(_places(part, LowRank)):
        assert isinstance(layer, LowRank)
        setattr(owner, name, layer.merged())


def _places(part: nn.Module, kind: type[nn.Module]) -> Iterator[tuple[nn.Module, str, nn.Module]]:
    """Yield each module of a kind below ``part``, with its owner and its name there."""
    for owner in part.modules():
        for name, child in owner.named_children():
            if isinstance(child, kind):
                yield owner, name, child
