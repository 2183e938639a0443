"""A recipe: how a head is fine-tuned, read from the ``recipe.toml`` beside it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heads.base.errors import InvalidRecipe
from zoo.suggest import did_you_mean

__all__ = ["READ_BY", "Augmentation", "Recipe", "parse_recipe", "read_recipe"]

_POOLED = ("classify", "multilabel", "regress", "embed")
_LABELLED = ("classify", "multilabel", "tag", "segment")

READ_BY: Mapping[str, tuple[str, ...]] = {
    "pool": _POOLED,
    "context": ("tag", "segment"),
    "label_smoothing": _LABELLED,
    "class_weights": _LABELLED,
}
"""The kinds of heads that read a key, of those keys that not all of them read."""

Augmentation = Literal[
    "ColorJitter",
    "GaussianBlur",
    "GaussianNoise",
    "RandomAffine",
    "RandomErasing",
    "RandomGrayscale",
    "RandomHorizontalFlip",
    "RandomInvert",
    "RandomPerspective",
    "RandomResizedCrop",
    "RandomRotation",
    "RandomVerticalFlip",
]
"""Transforms of ``torchvision.transforms.v2`` that a recipe may ask for, by their names there."""


class Recipe(BaseModel):
    """How a head is fine-tuned. Every key has a default; a recipe says only what differs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(default=60, ge=1, description="most passes over the training split")
    patience: int = Field(default=15, ge=1, description="epochs without a better validation score before it stops")
    batch_size: int = Field(default=32, ge=1, description="examples a step")
    accumulate: int = Field(default=1, ge=1, description="parts that a step's batch is computed in, to save memory")
    learning_rate: float = Field(default=1e-3, gt=0, le=100, description="peak of the schedule")
    schedule: Literal["one_cycle", "cosine", "constant"] = Field(
        default="one_cycle", description="how the learning rate goes: up and down, down from its peak, or up and flat"
    )
    warm_up: float = Field(default=0.1, ge=0, lt=1, description="share of the steps in which the learning rate rises")
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="factor on the learning rate for each block between a layer and the head"
    )
    unfreeze_every: int = Field(
        default=0, ge=0, description="epochs after which a further block is let go; 0 trains all from the start"
    )
    probe_epochs: int = Field(default=0, ge=0, description="epochs that train the head alone before all of it trains")
    weight_decay: float = Field(
        default=0.01, ge=0, description="AdamW's, of matrices and kernels; biases and norms have none"
    )
    clip_norm: float = Field(default=1.0, ge=0, description="largest norm of a step's gradient; 0 clips nothing")
    ema: float = Field(
        default=0.0, ge=0, lt=1, description="decay, each step, of a moving average of the weights; 0 takes none"
    )
    swa: float = Field(
        default=0.0, ge=0, lt=1, description="share of the epochs, at the end, whose weights are averaged; 0 takes none"
    )
    mixup: float = Field(default=0.0, ge=0, description="alpha of the mixing of pairs of examples; 0 mixes nothing")
    precision: Literal["fp32", "bf16", "fp16"] = Field(
        default="fp32", description="what matrix products are computed in; losses, norms and weights stay in fp32"
    )
    sharded: bool = Field(
        default=False,
        description="whether processes share out a tail's weights (FSDP) instead of each holding all of them",
    )
    token_dropout: float = Field(default=0.0, ge=0, lt=1, description="share of tokens hidden from a tail in training")
    augment: tuple[Augmentation, ...] = Field(
        default=(), strict=False, description="transforms of images for a tail in training, by torchvision's names"
    )
    pool: Literal["mean", "mean_max"] = Field(default="mean", description="how tokens become one vector")
    hidden: int = Field(default=0, ge=0, description="units of the hidden layer; 0 makes the head linear")
    context: int = Field(
        default=1,
        ge=0,
        description="tokens, or cells of a feature map, on each side that a tagging or segmenting head looks at",
    )
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of inputs dropped while training")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="of the classification loss")
    class_weights: bool = Field(
        default=False, description="weigh classes by the root of how rare they are, at most tenfold"
    )
    seed: int = Field(default=0, ge=0, lt=2**63, description="same seed, same weights")


def read_recipe(path: Path) -> Recipe:
    """Read the recipe at ``path``; a file that is not there is the default recipe.

    Raises:
        InvalidRecipe: it is not TOML, has an unknown key or a value out of range.
    """
    if not path.exists():
        return Recipe()
    try:
        found = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidRecipe(f"{path} is not TOML: {error}.") from None
    except OSError as error:
        raise InvalidRecipe(f"The recipe {path} cannot be read: {error.strerror}.") from error
    return parse_recipe(found, where=str(path))


def parse_recipe(found: dict[str, Any], *, where: str) -> Recipe:
    """Return the recipe that ``found`` says.

    Args:
        found: keys and values as a TOML file gives them.
        where: how errors name the file.

    Raises:
        InvalidRecipe: an unknown key, or a value out of range.

    >>> parse_recipe({"epoch": 3}, where="recipe.toml")
    Traceback (most recent call last):
    heads.base.errors.InvalidRecipe: recipe.toml has the unknown key 'epoch'. Did you mean 'epochs'?
    """
    known = tuple(Recipe.model_fields)
    for key in found:
        if key not in known:
            raise InvalidRecipe(f"{where} has the unknown key {key!r}.{did_you_mean(key, known)}")
    try:
        return Recipe.model_validate(found)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        meaning = Recipe.model_fields[key].description
        raise InvalidRecipe(
            f"{where}: {key} is {first['input']!r}: {first['msg'].lower()}. It is the {meaning}."
        ) from None
