"""A recipe is changed where it has to change, and nowhere else."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heads.base.errors import InvalidRecipe
from heads.base.search.recipe_file import difference, edited, write_recipe

KEYS = ("epochs", "learning_rate", "dropout", "pool", "class_weights", "hidden")
values = st.one_of(
    st.booleans(),
    st.integers(min_value=-(2**62), max_value=2**62),
    st.floats(allow_nan=False, allow_infinity=False),
    st.sampled_from(["mean", "mean_max", "a # b", 'say "x"', ""]),
)
comments = st.sampled_from(["", "  # why = 3", " # learning_rate = 1", "\t#x"])


def written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"'{value}'" if isinstance(value, str) else repr(value)


@st.composite
def recipes(draw: st.DrawFn) -> str:
    end = draw(st.sampled_from(["\n", "\r\n"]))
    lines = []
    for key in draw(st.lists(st.sampled_from(KEYS), unique=True)):
        lines += draw(st.lists(st.sampled_from(["", "# hidden = 1", "  # a word"]), max_size=2))
        name = draw(st.sampled_from([key, f'"{key}"', f"  {key}"]))
        equals = draw(st.sampled_from([" = ", "=", "  =\t"]))
        lines.append(f"{name}{equals}{written(draw(values))}{draw(comments)}")
    text = end.join(lines)
    return text + (end if draw(st.booleans()) else "")


@given(text=recipes(), changes=st.dictionaries(st.sampled_from(KEYS), values))
def test_exactly_the_changed_values_change_and_every_other_line_stays(text: str, changes: dict[str, Any]) -> None:
    before = tomllib.loads(text)
    after = edited(text, changes)
    assert tomllib.loads(after) == before | changes
    kept, new = text.splitlines(), after.splitlines()
    assert len(new) == len(kept) + len(changes.keys() - before.keys())
    touched = [line for line, other in zip(kept, new, strict=False) if line != other]
    assert len(touched) <= len(changes)
    for line, other in zip(kept, new, strict=False):
        assert line == other or line.partition("#")[2] == other.partition("#")[2] or "a # b" in line + other
    assert edited(after, changes) == after


def test_the_diff_shows_what_a_review_has_to_see() -> None:
    before = "# chosen by hand\nepochs = 40\nlearning_rate = 1e-3  # the peak\ndropout = 0.3\n"
    after = edited(before, {"learning_rate": 0.0042, "dropout": 0.3, "hidden": 64})
    assert difference(before, after, name="heads/mood/recipe.toml") == (
        "--- a/heads/mood/recipe.toml\n"
        "+++ b/heads/mood/recipe.toml\n"
        "@@ -1,4 +1,5 @@\n"
        " # chosen by hand\n"
        " epochs = 40\n"
        "-learning_rate = 1e-3  # the peak\n"
        "+learning_rate = 0.0042  # the peak\n"
        " dropout = 0.3\n"
        "+hidden = 64\n"
    )
    assert difference(before, before, name="x") == ""


def test_a_value_that_is_the_same_number_is_left_as_it_is_written() -> None:
    assert edited("learning_rate = 1e-3\n", {"learning_rate": 0.001}) == "learning_rate = 1e-3\n"
    assert edited("hidden = 1\n", {"hidden": True}) == "hidden = true\n", "a number is no truth"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('pool = """\nmean"""\n', 'cannot be changed line by line.*Write it by hand: pool = "max"'),
        ("pool\n", "is not TOML"),
    ],
)
def test_a_recipe_that_cannot_be_changed_is_left_and_says_what_to_write(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(InvalidRecipe, match=message):
        write_recipe(path, {"pool": "max"})
    assert path.read_text() == text
    assert [file.name for file in tmp_path.iterdir()] == ["recipe.toml"]


def test_a_recipe_that_is_not_there_is_made(tmp_path: Path) -> None:
    write_recipe(tmp_path / "recipe.toml", {"dropout": 0.5})
    assert (tmp_path / "recipe.toml").read_text() == "dropout = 0.5\n"
