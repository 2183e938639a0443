"""The learning-rate finder: what a curve suggests, on curves and on networks."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.base.errors import TrainingFailed
from heads.base.recipe import Recipe
from heads.base.training import train_head
from heads.base.training.finder import find_learning_rate, suggest
from heads.base.training.finder_plot import range_test_svg
from tests.support.training_data import SmallTail, mood_head, mood_split


@given(begins=st.floats(-4, -2), width=st.floats(0.5, 2), height=st.floats(0.1, 100), noise=st.floats(0, 0.01))
def test_the_suggestion_lies_where_the_loss_falls(begins: float, width: float, height: float, noise: float) -> None:
    exponents = np.linspace(-6, 1, 100)
    fall = 1 / (1 + np.exp(-(exponents - begins - width / 2) * 10 / width))
    rise = np.exp(np.clip((exponents - begins - 1.5 * width) * 8, None, 5))
    losses = height * (1.2 - fall + rise + noise * np.sin(37 * exponents))
    found = suggest((10**exponents).tolist(), losses.tolist())
    assert begins - 0.1 < math.log10(found.steepest) < begins + 1.5 * width
    assert begins - 0.1 < math.log10(found.valley) < begins + 1.5 * width


@pytest.mark.parametrize("losses", [[], [1.0], [1.0] * 30, [1.0 + 0.1 * step for step in range(30)]])
def test_a_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    rates = np.geomspace(1e-6, 1, len(losses)).tolist() if losses else []
    with pytest.raises(TrainingFailed, match=r"loss falls at no learning rate .* Look for inputs"):
        suggest(rates, losses)


@pytest.mark.parametrize("make", [mood_head, SmallTail])
def test_what_is_suggested_trains_well(make: type[SmallTail]) -> None:
    recipe = Recipe(batch_size=16, hidden=8, epochs=5)
    torch.manual_seed(1)
    expected = torch.rand(2)
    torch.manual_seed(1)
    found = find_learning_rate(lambda: make(recipe), mood_split, recipe)
    assert torch.equal(torch.rand(2), expected)
    assert found == find_learning_rate(lambda: make(recipe), mood_split, recipe)
    assert list(found.rates) == sorted(found.rates)
    tuned = recipe.model_copy(update={"learning_rate": found.suggestion.valley})
    assert train_head(lambda: make(tuned), mood_split, tuned)[2].valid["macro_f1"] == 1.0


def test_the_test_ends_when_the_loss_runs_away() -> None:
    told: list[tuple[int, int]] = []
    recipe = Recipe(batch_size=16, weight_decay=0.0)
    found = find_learning_rate(
        lambda: mood_head(recipe),
        lambda network: mood_split(network, clear=0.8),
        recipe,
        highest=1e4,
        on_step=lambda done, most: told.append((done, most)),
    )
    assert len(found.losses) < 100
    assert told[-1] == (len(found.losses), 100)
    assert all(math.isfinite(loss) for loss in found.losses)


def test_the_plot_is_svg_and_the_same_each_time() -> None:
    recipe = Recipe(batch_size=16)
    found = find_learning_rate(lambda: mood_head(recipe), mood_split, recipe, steps=40)
    one, other = (range_test_svg(found, title="mood", current=1e-3) for _ in range(2))
    assert one == other
    assert one.startswith(b"<?xml")
    assert b"valley" in one
    assert b"recipe.toml" in one
