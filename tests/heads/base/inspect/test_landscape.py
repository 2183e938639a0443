"""The loss landscape: directions as long as the filters they move, and the published weights at its centre."""

import copy

import pytest
import torch
from torch import Tensor

from heads.base import Classify, Head, Tag
from heads.base.declaration import Task
from heads.base.inspect.landscape import filter_normalised, loss_landscape
from heads.base.recipe import Recipe
from heads.base.tasks.losses import make_loss
from heads.base.tasks.modules import HeadStage, make_head
from zoo.manifest import TensorSpec

WIDTH = 6
AVAILABLE = {
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH)),
}


def made(task: Task) -> HeadStage:
    torch.manual_seed(0)
    return make_head(Head(name="h", team="h", task=task), Recipe(hidden=5), AVAILABLE).eval()


def test_each_filter_of_a_direction_is_as_long_as_the_weights_filter_and_biases_stay() -> None:
    weights = {"a": torch.randn(3, 4), "k": torch.randn(2, 3, 5), "bias": torch.randn(4)}
    direction = filter_normalised(weights, torch.Generator().manual_seed(1))
    assert torch.allclose(direction["a"].norm(dim=1), weights["a"].norm(dim=1))
    assert torch.allclose(direction["k"].norm(dim=(1, 2)), weights["k"].norm(dim=(1, 2)))
    assert not direction["bias"].any()


def test_a_filter_that_is_zero_stays_where_it_is() -> None:
    direction = filter_normalised({"a": torch.zeros(2, 3)}, torch.Generator().manual_seed(1))
    assert not direction["a"].any()


def test_the_centre_is_the_loss_of_the_head_itself_and_the_head_is_left_as_it_is() -> None:
    head = made(Classify(labels=("a", "b", "c")))
    before = copy.deepcopy(head.state_dict())
    reduced = [(torch.randn(WIDTH),) for _ in range(9)]
    targets = [torch.tensor(number % 3) for number in range(9)]
    found = loss_landscape(head, reduced, targets, points=5)
    loss = make_loss(head.task, Recipe(), targets)
    with torch.no_grad():
        own = float(loss(head.logits(torch.stack([row for (row,) in reduced])), torch.stack(targets)))
    assert found.losses.shape == (5, 5)
    assert found.losses[2, 2] == pytest.approx(own, rel=1e-6)
    assert found.losses.std() > 0
    assert all(weight.equal(before[name]) for name, weight in head.state_dict().items())


def test_ragged_rows_of_a_tagging_head_are_padded_and_padding_costs_nothing() -> None:
    head = made(Tag(labels=("x",)))

    def row(length: int) -> tuple[Tensor, ...]:
        return torch.randn(length, WIDTH), torch.ones(length, 1)

    first, second = row(4), row(2)
    targets = [torch.tensor([0, 1, 2, 0]), torch.tensor([0, 1])]
    both = loss_landscape(head, [first, second], targets, points=3).losses
    apart = [
        loss_landscape(head, [reduced], [target], points=3).losses * len(target)
        for reduced, target in zip((first, second), targets, strict=True)
    ]
    assert both == pytest.approx((apart[0] + apart[1]) / 6, rel=1e-4)
