"""The network that is pre-trained: a small ConvNeXt, and three linear layers that are thrown away afterwards."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.pretrain.collection import UNNAMED
from backbone.pretrain.faces import STYLES

__all__ = ["ARCHITECTURE", "IMAGE_PX", "MODEL_ARGS", "Pretrained", "Told", "make_trunk"]

ARCHITECTURE = "convnext_atto"
MODEL_ARGS: dict[str, Any] = {
    "dims": (32, 64, 128, 256),
    "depths": (2, 2, 4, 2),
    "patch_size": 4,
    "ls_init_value": 1.0,
}
"""What differs from timm's: some 1.9 million weights, and blocks that count from the start.

timm starts blocks at a scale of 1e-6, so the network starts out linear; and as light on dark is as likely as dark on
light, nothing linear can tell anything of a glyph. A short run never leaves that saddle.
"""
IMAGE_PX = 48

_SMOOTHING = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What the network says of each picture: scores of names (N, K), of styles (N, S), and sine and cosine (N, 2)."""

    names: Tensor
    styles: Tensor
    turn: Tensor


def make_trunk() -> nn.Module:
    """Return the untrained trunk, as timm makes it."""
    import timm

    trunk: nn.Module = timm.create_model(ARCHITECTURE, pretrained=False, num_classes=0, **MODEL_ARGS)
    for module in trunk.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            # Keeps the variance of what comes in (LeCun et al. 1998), for the same reason; timm's is 0.02.
            nn.init.trunc_normal_(module.weight, std=module.weight[0].numel() ** -0.5)
    return trunk


class Pretrained(nn.Module):
    """The trunk with what its features are asked for.

    Args:
        names: how many glyphs it learns to tell apart.
    """

    def __init__(self, names: int) -> None:
        super().__init__()
        self.trunk = make_trunk()
        width = int(MODEL_ARGS["dims"][-1])
        # Normalised over rows and not over channels: one that is large and constant would drown what differs.
        self.norm = nn.BatchNorm1d(width, affine=False)
        self.name = nn.Linear(width, names)
        self.style = nn.Linear(width, len(STYLES))
        self.turn = nn.Linear(width, 2)

    def features(self, images_NCHW: Tensor) -> Tensor:
        """Return one normalised vector a picture, (N, D)."""
        features_NCHW: Tensor = self.trunk.forward_features(images_NCHW)  # type: ignore[operator]
        pooled_ND = features_NCHW.mean(dim=(2, 3))
        normalised_ND: Tensor = self.norm(pooled_ND)
        return normalised_ND

    def forward(self, images_NCHW: Tensor) -> Told:
        """Tell of pictures; (N, 3, IMAGE_PX, IMAGE_PX), float32, between -1 and 1."""
        features_ND = self.features(images_NCHW)
        return Told(names=self.name(features_ND), styles=self.style(features_ND), turn=self.turn(features_ND))

    def loss(self, images_NCHW: Tensor, names_N: Tensor, styles_NS: Tensor, tilt_N: Tensor) -> Tensor:
        """Return the sum of the three losses: cross entropy, binary cross entropy and squared error."""
        told = self(images_NCHW)
        name = F.cross_entropy(told.names, names_N, ignore_index=UNNAMED, label_smoothing=_SMOOTHING)
        style = F.binary_cross_entropy_with_logits(told.styles, styles_NS)
        angle_N = tilt_N.deg2rad()
        turn = F.mse_loss(told.turn, torch.stack((angle_N.sin(), angle_N.cos()), dim=1))
        return name + style + 4 * turn
