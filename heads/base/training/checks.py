"""Whether a recipe fits the network that it is to train, before anything is trained."""

from collections.abc import Sequence

from heads.base.declaration import Classify, Embed, Multilabel, Regress
from heads.base.errors import InvalidRecipe
from heads.base.network import Layer, Network
from heads.base.recipe import Recipe
from heads.base.training.encoded import Encoded

__all__ = ["check_recipe"]

_MIXABLE = (Classify, Multilabel, Regress)


def check_recipe(
    recipe: Recipe, network: Network, layers: Sequence[Layer], train: Encoded, *, processes: int = 1
) -> None:
    """Check what a recipe asks for against what there is to train.

    Args:
        recipe: how to train.
        network: what is trained.
        layers: of it, those with something to train.
        train: the train split.
        processes: how many share each batch.

    Raises:
        InvalidRecipe: they do not fit.
    """
    if recipe.ema and recipe.swa:
        raise InvalidRecipe(
            f"ema is {recipe.ema} and swa is {recipe.swa}: both average the weights. Set one of them to 0 in "
            "recipe.toml."
        )
    if recipe.sharded and recipe.precision == "fp16":
        raise InvalidRecipe(
            "sharded is true and precision is 'fp16': the scaling of fp16 does not know shards of gradients. Set "
            "precision = 'bf16' or 'fp32' in recipe.toml."
        )
    if len(layers) == 1:
        _check_alone(recipe)
    if isinstance(network.task, Embed):
        _check_whole(recipe, processes)
    if recipe.mixup and not (isinstance(network.task, _MIXABLE) and _one_vector_a_row(train)):
        shapes = ", ".join(str(tuple(tensor.shape)) for tensor in train.reduced[0])
        raise InvalidRecipe(
            f"mixup is {recipe.mixup}: it mixes heads that read one vector a row and classify, choose labels or give a "
            f"value; this one is a {network.task.kind} head and reads {shapes}. Set mixup = 0 in recipe.toml."
        )


def _check_alone(recipe: Recipe) -> None:
    default = Recipe()
    for key in ("layer_decay", "probe_epochs", "unfreeze_every", "sharded"):
        if (value := getattr(recipe, key)) != getattr(default, key):
            raise InvalidRecipe(
                f"{key} is {value}, which is about the blocks below a head; only the head is trained here. Declare a "
                f"tail in head.py, or take {key} out of recipe.toml."
            )


def _check_whole(recipe: Recipe, processes: int) -> None:
    """Refuse batches in parts where rows are compared with each other: pairs across parts would be left out."""
    why = "the loss of an embed head compares all rows of a batch with each other, and those of two parts never meet"
    if recipe.accumulate > 1:
        raise InvalidRecipe(
            f"accumulate is {recipe.accumulate}: {why}. Set accumulate = 1 in recipe.toml, and a smaller batch_size if "
            "memory is short."
        )
    if processes > 1:
        raise InvalidRecipe(f"{processes} processes share each batch: {why}. Train it in one process.")


def _one_vector_a_row(train: Encoded) -> bool:
    return [tensor.ndim for tensor in train.reduced[0]] == [1]
