"""Recipes: defaults, and errors that name the file and the closest key."""

from pathlib import Path

import pytest

from heads.base.errors import InvalidRecipe
from heads.base.recipe import Recipe, parse_recipe, read_recipe


def test_a_recipe_says_only_what_differs(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("epochs = 3\nlearning_rate = 1\n")
    assert read_recipe(path) == Recipe(epochs=3, learning_rate=1.0)
    assert read_recipe(tmp_path / "absent.toml") == Recipe()
    path.write_text('augment = ["RandomRotation", "ColorJitter"]\n')
    assert read_recipe(path).augment == ("RandomRotation", "ColorJitter")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "has the unknown key 'epoch'. Did you mean 'epochs'?"),
        ("epochs = 0", "epochs is 0: input should be greater than or equal to 1. It is the most passes"),
        ('epochs = "3"', "epochs is '3': input should be a valid integer"),
        ("dropout = 1.0", "dropout is 1.0"),
        ("seed = 99999999999999999999", "seed is 99999999999999999999"),
        ("pool = 'max'", "pool is 'max'"),
        ("schedule = 'linear'", "schedule is 'linear': input should be 'one_cycle', 'cosine' or 'constant'"),
        ("precision = 'int8'", "precision is 'int8'"),
        ("layer_decay = 0.0", "layer_decay is 0.0"),
        ("augment = ['RandomFlip']", "augment is 'RandomFlip'"),
        ("epochs =", "is not TOML"),
    ],
)
def test_a_wrong_recipe_names_the_file_and_what_to_change(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InvalidRecipe) as caught:
        read_recipe(path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_every_key_says_what_it_means() -> None:
    assert all(field.description for field in Recipe.model_fields.values())
    with pytest.raises(InvalidRecipe):
        parse_recipe({"zzz": 1}, where="f")
