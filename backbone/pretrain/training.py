"""The pre-training loop."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backbone.pretrain.augment import distorted
from backbone.pretrain.budget import Budget, learning_rate_at
from backbone.pretrain.collection import Collection
from backbone.pretrain.network import IMAGE_PX, Pretrained

__all__ = ["Settings", "Step", "batch_of", "pretrain"]

SMALLER_PX, SMALLER_UNTIL = 32, 0.6
"""Most steps see smaller pictures, at half the cost; the last ones see them as they will be."""

DISTORTED_FROM = 0.7
"""Share of the run after which pictures are as distorted as they can be; they begin without any distortion."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to pre-train.

    Attributes:
        seed: same seed, same budget in steps, same weights.
        batch_size: pictures a step.
        learning_rate: at its peak.
        weight_decay: AdamW's, of matrices and kernels only.
        clip_norm: largest norm of the gradient.
    """

    seed: int = 0
    batch_size: int = 128
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    clip_norm: float = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A step that was made: its number from 1, the share of the run that is over, and the loss."""

    number: int
    used: float
    loss: float


def pretrain(
    collection: Collection,
    settings: Settings,
    budget: Budget,
    *,
    on_step: Callable[[Step], None] = lambda _step: None,
) -> tuple[Pretrained, int]:
    """Pre-train a network on the glyphs that training may see.

    Args:
        collection: all glyphs.
        settings: how.
        budget: for how long.
        on_step: told about each step.

    Returns:
        The network in eval mode, and how many steps were made.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Pretrained(collection.class_count).to(memory_format=torch.channels_last)
    optimizer = _optimizer(network, settings)
    seen, step = collection.for_training(), 0
    network.train()
    while (used := budget.used(step)) < 1:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(used, settings.learning_rate)
        chosen = seen[torch.randint(len(seen), (settings.batch_size,), generator=generator)]
        strength = min(1.0, used / DISTORTED_FROM)
        size_px = SMALLER_PX if used < SMALLER_UNTIL else IMAGE_PX
        loss = network.loss(*batch_of(collection, chosen, generator, size_px=size_px, strength=strength))
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
        torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip_norm)
        optimizer.step()
        step += 1
        on_step(Step(number=step, used=used, loss=float(loss.detach())))
    return network.eval().to(memory_format=torch.contiguous_format), step


def batch_of(
    collection: Collection,
    chosen: Tensor,
    generator: torch.Generator,
    *,
    size_px: int = IMAGE_PX,
    strength: float = 1.0,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return pictures of some glyphs, their names, their styles and how far they are turned."""
    images_NCHW, tilt_N = distorted(collection.masks[chosen], size_px, generator, strength=strength)
    images_NCHW = images_NCHW.contiguous(memory_format=torch.channels_last)
    return images_NCHW, collection.classes[chosen], collection.styles[chosen], tilt_N


def _optimizer(network: Pretrained, settings: Settings) -> torch.optim.Optimizer:
    decayed = [weight for weight in network.parameters() if weight.ndim > 1]
    others = [weight for weight in network.parameters() if weight.ndim <= 1]
    groups: list[dict[str, Any]] = [{"params": decayed}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=settings.learning_rate, weight_decay=settings.weight_decay)
