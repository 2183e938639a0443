"""Averages: what they hold, that weights come back, and that frozen statistics are left alone."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from heads.base.recipe import Recipe
from heads.base.training import EpochRecord, Observer, train_head
from heads.base.training.averaging import Average, moving, update_batch_norms
from heads.base.training.weights import set_training_mode
from tests.support.training_data import SmallTail, bits_of, mood_split, seeded_tail

VALUES = st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=8)


def averaged(average: Average, parameter: nn.Parameter, values: list[float]) -> float:
    for value in values:
        with torch.no_grad():
            parameter.fill_(value)
        average.add()
    with average.standing_in():
        found = parameter.item()
    assert parameter.item() == values[-1]
    return found


@given(values=VALUES)
def test_the_average_of_the_last_epochs_counts_all_alike(values: list[float]) -> None:
    parameter = nn.Parameter(torch.tensor(0.0))
    found = averaged(Average([parameter]), parameter, values)
    assert found == pytest.approx(sum(values) / len(values), abs=1e-4)


@given(values=VALUES, decay=st.floats(0.1, 0.99))
def test_a_moving_average_forgets_and_begins_quickly(values: list[float], decay: float) -> None:
    parameter = nn.Parameter(torch.tensor(0.0))
    expected = values[0]
    for count, value in enumerate(values[1:], start=1):
        kept = min(decay, (1 + count) / (10 + count))
        expected = kept * expected + (1 - kept) * value
    assert averaged(Average([parameter], moving(decay)), parameter, values) == pytest.approx(expected, abs=1e-4)


def test_batch_norms_that_train_are_measured_anew_and_frozen_ones_are_not() -> None:
    tail = seeded_tail(Recipe())
    set_training_mode(tail)
    first, frozen = (dict(tail.named_buffers())[f"{name}.norm.running_mean"] for name in ("first", "frozen"))
    before = first.clone(), frozen.clone()
    vectors = [torch.randn(8, 8) + 3 for _ in range(5)]
    with update_batch_norms(tail) as measured:
        assert measured
        for batch in vectors:
            tail.logits(batch)
    with torch.no_grad():
        seen = torch.stack([tail.first.linear(tail.frozen(batch)).mean(0) for batch in vectors]).mean(0)
    torch.testing.assert_close(first, seen)
    assert not torch.equal(first, before[0])
    assert torch.equal(frozen, before[1])
    assert tail.first.norm.momentum == 0.1


class EveryEpoch(Observer):
    """Keeps the weights after each epoch."""

    def __init__(self) -> None:
        self.network: SmallTail
        self.weights: list[torch.Tensor] = []

    def begins(self, network: object, epochs: int) -> None:
        assert isinstance(network, SmallTail)
        self.network = network

    def on_epoch(self, record: EpochRecord) -> None:
        self.weights.append(self.network.first.linear.weight.detach().clone())


def test_with_swa_the_network_has_the_average_of_the_last_epochs() -> None:
    recipe = Recipe(epochs=6, swa=0.5, batch_size=8, learning_rate=0.02, patience=1)
    seen = EveryEpoch()
    tail, _, trained = train_head(lambda: SmallTail(recipe), mood_split, recipe, observers=(seen,))
    torch.testing.assert_close(tail.first.linear.weight, torch.stack(seen.weights[3:]).mean(0))
    assert (trained.epochs, trained.best_epoch) == (6, 6)
    assert trained.valid["macro_f1"] > 0.9
    assert not tail.training


def test_with_ema_the_network_has_averages_and_training_goes_on_with_its_own_weights() -> None:
    recipe = Recipe(epochs=3, ema=0.99, batch_size=8, learning_rate=0.02)
    with_ema, plain = EveryEpoch(), EveryEpoch()
    tail, _, _ = train_head(lambda: SmallTail(recipe), mood_split, recipe, observers=(with_ema,))
    without = recipe.model_copy(update={"ema": 0.0})
    train_head(lambda: SmallTail(without), mood_split, without, observers=(plain,))
    assert all(torch.equal(one, other) for one, other in zip(with_ema.weights, plain.weights, strict=True))
    assert not any(torch.equal(tail.first.linear.weight, weight) for weight in with_ema.weights)
    assert bits_of(tail).keys() == bits_of(SmallTail(recipe)).keys()
