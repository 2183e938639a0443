"""What a tail sees of its training inputs: token ids some of which are hidden, images that are changed at random.

Both are modules that a ``TailedHead`` applies in training mode. They draw from torch's global random state, so that
the same seed gives the same weights, and a run that goes on from a checkpoint draws what it would have drawn.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from heads.base.recipe import Augmentation, Recipe
from zoo.manifest import ImagePreprocessing, Preprocessing, TextPreprocessing

__all__ = ["ImageNoise", "TokenNoise", "make_noise"]

_HIDDEN = ("[MASK]", "<mask>", "[UNK]", "<unk>")
"""What a hidden token is replaced by: the first of these that the tokenizer knows, else its padding."""


class TokenNoise(nn.Module):
    """Hides a share of the tokens of a text, each by itself; those that every text has are kept.

    Args:
        share: of the tokens, from 0 to 1.
        hidden: the id that stands for them.
        kept: ids that are never hidden, as of ``[CLS]`` and ``[PAD]``.
    """

    kept: Tensor

    def __init__(self, *, share: float, hidden: int, kept: Sequence[int]) -> None:
        super().__init__()
        self.share = share
        self.hidden = hidden
        self.register_buffer("kept", torch.tensor(sorted(set(kept)), dtype=torch.int64), persistent=False)

    def forward(self, ids_NT: Tensor) -> Tensor:
        """Return the ids, some of them replaced."""
        chosen_NT = (torch.rand(ids_NT.shape, device=ids_NT.device) < self.share) & ~torch.isin(ids_NT, self.kept)
        return ids_NT.masked_fill(chosen_NT, self.hidden)


class ImageNoise(nn.Module):
    """Changes each image by itself, as ``torchvision.transforms.v2`` does; their size stays.

    Args:
        names: the transforms, in order.
        height: of the images, in pixels.
        width: of the images, in pixels.
        mean: that was taken from each channel of pixels from 0 to 1.
        std: that they were divided by then.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, names: Sequence[Augmentation], *, height: int, width: int, mean: Sequence[float], std: Sequence[float]
    ) -> None:
        super().__init__()
        from torchvision.transforms import v2  # type: ignore[import-untyped] # ships no types

        makers = _makers(v2, (height, width), fill=list(mean))
        self.transforms = nn.Sequential(*(makers[name]() for name in names))
        self.register_buffer("mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images_NCHW: Tensor) -> Tensor:
        """Return the images, each changed in its own way; what a transform uncovers is of the mean colour."""
        # Colours are changed as they were before they were normalised; rounding may have left them outside of 0 to 1.
        pixels_NCHW = (images_NCHW * self.std + self.mean).clamp(0, 1)
        changed_NCHW = torch.stack([self.transforms(pixels_CHW) for pixels_CHW in pixels_NCHW])
        return (changed_NCHW.clamp(0, 1) - self.mean) / self.std


def make_noise(recipe: Recipe, spec: Preprocessing, blob: Callable[[str], bytes]) -> nn.Module | None:
    """Return what changes the training inputs of a tail that begins with the first stage; None if nothing does.

    Args:
        recipe: its ``token_dropout`` is for texts, its ``augment`` for images.
        spec: how inputs are preprocessed.
        blob: returns the blob of a digest.
    """
    if isinstance(spec, TextPreprocessing) and recipe.token_dropout:
        tokenizer = Tokenizer.from_str(blob(spec.tokenizer).decode())
        known = (tokenizer.token_to_id(token) for token in _HIDDEN)
        added = tokenizer.get_added_tokens_decoder()
        special = [number for number, token in added.items() if token.special]
        return TokenNoise(
            share=recipe.token_dropout,
            hidden=next((number for number in known if number is not None), spec.pad_id),
            kept=[*special, *tokenizer.encode("").ids, spec.pad_id],
        )
    if isinstance(spec, ImagePreprocessing) and recipe.augment:
        return ImageNoise(recipe.augment, height=spec.height, width=spec.width, mean=spec.mean, std=spec.std)
    return None


def _makers(v2: Any, size: tuple[int, int], fill: list[float]) -> dict[Augmentation, Callable[[], nn.Module]]:
    """Return what makes each transform, of a strength that leaves most images readable."""
    uncovered = {"interpolation": v2.InterpolationMode.BILINEAR, "fill": fill}
    return {
        "ColorJitter": lambda: v2.ColorJitter(brightness=0.3, contrast=0.3, saturation=0.3, hue=0.05),
        "GaussianBlur": lambda: v2.GaussianBlur(kernel_size=5, sigma=(0.1, 1.5)),
        "GaussianNoise": lambda: v2.GaussianNoise(sigma=0.05),
        "RandomAffine": lambda: v2.RandomAffine(
            degrees=10, translate=(0.1, 0.1), scale=(0.9, 1.1), shear=5, **uncovered
        ),
        "RandomErasing": lambda: v2.RandomErasing(p=0.25, value=fill),
        "RandomGrayscale": lambda: v2.RandomGrayscale(p=0.2),
        "RandomHorizontalFlip": v2.RandomHorizontalFlip,
        "RandomInvert": lambda: v2.RandomInvert(p=0.2),
        "RandomPerspective": lambda: v2.RandomPerspective(distortion_scale=0.2, **uncovered),
        "RandomResizedCrop": lambda: v2.RandomResizedCrop(size, scale=(0.6, 1.0), antialias=True),
        "RandomRotation": lambda: v2.RandomRotation(10, **uncovered),
        "RandomVerticalFlip": v2.RandomVerticalFlip,
    }
