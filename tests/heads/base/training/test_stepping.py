"""Steps: parts of a batch make the whole, layers have their own rates, and what is frozen stays as it is."""

from typing import Any

import pytest
import torch

from heads.base import Classify, Embed, Multilabel, Regress, Tag
from heads.base.declaration import Task
from heads.base.errors import InvalidRecipe
from heads.base.recipe import Recipe
from heads.base.training import encode
from heads.base.training.processes import OneProcess
from heads.base.training.stepping import Stepper
from tests.support.training_data import SmallTail, bits_of, examples_of, mood_head, mood_split, seeded_tail
from zoo.labels import Span

KINDS: list[tuple[Task, tuple[Any, ...]]] = [
    (Classify(labels=("good", "bad")), ("good", "bad", "good")),
    (Multilabel(labels=("a", "b")), (("a",), ("b",), ("a", "b"))),
    (Regress(low=0, high=10), (9.0, 1.0, 4.0)),
    (Tag(labels=("a",)), ((Span(0, 1, "a"),), (), (Span(2, 5, "a"),))),
]


def gradient_of(task: Task, targets: Any, recipe: Recipe) -> tuple[float, list[torch.Tensor]]:
    torch.manual_seed(0)
    head = mood_head(recipe, task)
    stepper = Stepper(head, encode(head, *examples_of(targets * 7, seed=1)), recipe, OneProcess())
    stepper.train_down_to(0)
    loss = stepper.gradients(list(range(20)))
    return loss, [parameter.grad for parameter in head.parameters() if parameter.grad is not None]


@pytest.mark.parametrize(("task", "targets"), KINDS, ids=lambda value: getattr(value, "kind", ""))
@pytest.mark.parametrize("parts", [3, 20, 64])
def test_a_batch_in_parts_learns_what_the_whole_batch_learns(task: Task, targets: Any, parts: int) -> None:
    keys: dict[str, Any] = {"hidden": 5, "dropout": 0.0, "class_weights": True, "label_smoothing": 0.1}
    whole, gradients = gradient_of(task, targets, Recipe(**keys))
    summed, in_parts = gradient_of(task, targets, Recipe(accumulate=parts, **keys))
    assert summed == pytest.approx(whole, rel=1e-5)
    for one, other in zip(gradients, in_parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def tail_stepper(recipe: Recipe) -> tuple[SmallTail, Stepper]:
    tail = seeded_tail(recipe)
    return tail, Stepper(tail, mood_split(tail)[0], recipe, OneProcess())


def changed(before: dict[str, bytes], after: dict[str, bytes]) -> set[str]:
    return {name.split(".")[0] for name in before if before[name] != after[name]}


def test_only_what_is_let_go_changes_and_frozen_batch_norms_keep_their_statistics() -> None:
    tail, stepper = tail_stepper(Recipe())
    for depth, expected in ((0, {"head"}), (1, {"head", "last"}), (2, {"head", "last", "first"})):
        before = bits_of(tail)
        stepper.train_down_to(depth)
        for rows in stepper.shuffled():
            stepper.gradients(rows)
            stepper.update([0.01] * 3)
        assert changed(before, bits_of(tail)) == expected
        modes = {name: part.training for name, part in tail.named_children()}
        assert {name for name, training in modes.items() if training} == expected
    assert not tail.frozen.norm.training


def test_each_layer_has_its_own_learning_rate() -> None:
    tail, stepper = tail_stepper(Recipe(weight_decay=0.0))
    stepper.train_down_to(2)
    before = bits_of(tail)
    stepper.gradients(list(range(8)))
    norms = stepper.update([0.01, 0.0, 0.01], with_norms=True)
    moved = {name for name, after in bits_of(tail).items() if before[name] != after}
    weights = {name for name in moved if "running" not in name and "batches" not in name}
    assert {name.split(".")[0] for name in weights} == {"head", "first"}
    assert set(norms) == {"head", "block 1", "block 2"}
    assert all(norm > 0 for norm in norms.values())


def test_weight_decay_leaves_biases_and_norms_alone() -> None:
    tail, stepper = tail_stepper(Recipe(weight_decay=0.5))
    groups = stepper.optimizer.param_groups
    decayed = {id(each) for group in groups if group["weight_decay"] for each in group["params"]}
    spared = {name for name, each in tail.named_parameters() if each.requires_grad and id(each) not in decayed}
    expected = {name for name, each in tail.named_parameters() if each.requires_grad and each.ndim < 2}
    assert spared == expected
    assert {"first.norm.weight", "last.linear.bias"} <= expected


@pytest.mark.parametrize(("clip_norm", "clipped"), [(1e-3, True), (0.0, False), (1e3, False)])
def test_gradients_are_clipped_to_the_norm_that_the_recipe_says(clip_norm: float, clipped: bool) -> None:
    head = mood_head(Recipe())
    stepper = Stepper(head, mood_split(head)[0], Recipe(clip_norm=clip_norm), OneProcess())
    stepper.train_down_to(0)
    stepper.gradients(list(range(8)))
    before = stepper.update([0.0], with_norms=True)["head"]
    after = float(torch.nn.utils.get_total_norm([each.grad for each in head.parameters() if each.grad is not None]))
    assert after == pytest.approx(clip_norm if clipped else before, rel=1e-3)


def test_mixing_takes_gradients_of_both_halves_of_a_pair() -> None:
    recipe = Recipe(mixup=0.4, dropout=0.0)
    plain, _ = gradient_of(*KINDS[0], recipe.model_copy(update={"mixup": 0.0}))
    mixed, gradients = gradient_of(*KINDS[0], recipe)
    assert mixed != plain
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_heads_that_read_more_than_a_vector_are_not_mixed() -> None:
    with pytest.raises(InvalidRecipe, match=r"mixup is 0.4: .* is a tag head and reads .* Set mixup = 0"):
        gradient_of(*KINDS[3], Recipe(mixup=0.4))


class _Two(OneProcess):
    """As if another process had the other half of each batch."""

    count = 2


def test_vectors_that_are_compared_with_each_other_are_not_learned_in_parts() -> None:
    head = mood_head(Recipe(), Embed(dim=4))
    data = encode(head, *examples_of(("a", "b") * 8, seed=1))
    with pytest.raises(InvalidRecipe, match=r"accumulate is 2: .* Set accumulate = 1 in recipe.toml"):
        Stepper(head, data, Recipe(accumulate=2), OneProcess())
    with pytest.raises(InvalidRecipe, match=r"2 processes share each batch: .* Train it in one process"):
        Stepper(head, data, Recipe(), _Two())


@pytest.mark.parametrize(("key", "value"), [("layer_decay", 0.5), ("probe_epochs", 2), ("unfreeze_every", 1)])
def test_what_is_about_blocks_is_refused_for_a_head_alone(key: str, value: Any) -> None:
    with pytest.raises(InvalidRecipe, match=rf"{key} is {value}, .* Declare a tail in head.py"):
        gradient_of(*KINDS[0], Recipe(**{key: value}))


def test_two_averages_at_once_are_refused() -> None:
    with pytest.raises(InvalidRecipe, match=r"ema is 0.9 and swa is 0.5: both average"):
        gradient_of(*KINDS[0], Recipe(ema=0.9, swa=0.5))
