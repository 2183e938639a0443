"""A recipe: how a head is fine-tuned, read from the ``recipe.toml`` beside it."""

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from heads.base.errors import InvalidRecipe
from zoo.suggest import did_you_mean

__all__ = ["Recipe", "parse_recipe", "read_recipe"]


class Recipe(BaseModel):
    """How a head is fine-tuned. Every key has a default; a recipe says only what differs."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    epochs: int = Field(default=60, ge=1, description="most passes over the training split")
    patience: int = Field(default=15, ge=1, description="epochs without a better validation score before it stops")
    batch_size: int = Field(default=32, ge=1, description="examples a step")
    learning_rate: float = Field(default=1e-3, gt=0, le=100, description="peak of the one-cycle schedule")
    weight_decay: float = Field(default=0.01, ge=0, description="AdamW's")
    pool: Literal["mean", "mean_max"] = Field(default="mean", description="how tokens become one vector")
    hidden: int = Field(default=0, ge=0, description="units of the hidden layer; 0 makes the head linear")
    context: int = Field(default=1, ge=0, description="tokens on each side that a tagging head looks at")
    dropout: float = Field(default=0.1, ge=0, lt=1, description="share of inputs dropped while training")
    label_smoothing: float = Field(default=0.0, ge=0, lt=1, description="of the classification loss")
    class_weights: bool = Field(default=False, description="weigh classes by the inverse of their frequency")
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
