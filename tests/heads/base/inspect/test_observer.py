"""The activation observer: it counts what layers give, changes nothing, forgets nothing behind, and stays small."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn.modules import module as torch_module

from heads.base import Classify, Head
from heads.base.inspect.activations import BINS, LOWEST, SIDE, bin_edges, read_activations
from heads.base.inspect.observer import MOST_COLUMNS, MOST_LAYERS, ActivationObserver, signed_histogram
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.tasks.modules import make_head
from heads.base.training import encode, train_head
from heads.base.training.observing import EpochRecord, Observer, StepRecord
from zoo.labels import Example
from zoo.manifest import TensorSpec
from zoo.preprocessing import Row


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Dropout(0.5), nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 3))


@contextmanager
def ending(observer: ActivationObserver) -> Iterator[None]:
    try:
        yield
    finally:
        observer.ends()


def step_record(step: int, norm: float = 1.0) -> StepRecord:
    return StepRecord(
        step=step, epoch=1, loss=1.0, learning_rates={"head": 0.1}, grad_norms={"head": norm}, rows=2, seconds=0.1
    )


def train(observed: nn.Module, observer: ActivationObserver | None, steps: int) -> None:
    torch.manual_seed(1)
    inputs, optimizer = torch.randn(6, 4), torch.optim.SGD(observed.parameters(), lr=0.1)
    if observer:
        observer.begins(observed, 1)
    try:
        for step in range(1, steps + 1):
            observed.train()
            optimizer.zero_grad()
            observed(inputs).square().mean().backward()
            optimizer.step()
            if observer:
                observer.on_step(step_record(step, norm=float(step)))
            observed.eval()
            observed(inputs)
    finally:
        if observer:
            observer.ends()


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=50))
def test_every_finite_value_is_counted_in_the_bin_that_holds_it(values: list[float]) -> None:
    counts = signed_histogram(torch.tensor(values)).numpy()
    assert counts.sum() == len(values)
    edges = bin_edges()
    for value in values:
        (place,) = signed_histogram(torch.tensor([value])).nonzero().flatten().tolist()
        inside = abs(value) * (1 - 1e-6) <= max(abs(edges[place]), abs(edges[place + 1]))
        assert inside or abs(value) >= edges[-1]
        assert place == SIDE or (place > SIDE) == (value > 0)


def test_what_is_no_number_is_not_counted() -> None:
    assert int(signed_histogram(torch.tensor([float("nan"), float("inf"), 1.0])).sum()) == 1


def test_a_value_and_its_negative_are_in_bins_that_mirror_each_other() -> None:
    values = torch.tensor([LOWEST / 4, LOWEST, 0.37, 1.0, 5e5])
    assert signed_histogram(values).tolist() == signed_histogram(-values).flip(0).tolist()


def test_each_layer_is_counted_in_training_and_not_while_it_is_scored(tmp_path: Path) -> None:
    train(network(), ActivationObserver(tmp_path, every=1), steps=5)
    found = read_activations(tmp_path)
    assert found is not None
    assert found.layers == ("1", "2", "3"), "dropout says nothing new"
    assert found.steps.tolist() == [1, 2, 3, 4, 5]
    assert found.counts.shape == (3, 5, BINS)
    assert found.counts.sum(axis=2).tolist() == [[48] * 5, [48] * 5, [18] * 5]
    assert found.gradient_layers == ("head",)
    assert found.gradient_norms.tolist() == [[1, 2, 3, 4, 5]]


def test_only_every_fourth_step_is_looked_at(tmp_path: Path) -> None:
    train(network(), ActivationObserver(tmp_path, every=4), steps=10)
    found = read_activations(tmp_path)
    assert found is not None
    assert found.steps.tolist() == [1, 5, 9]


def test_weights_are_the_same_bits_with_the_observer_and_without(tmp_path: Path) -> None:
    observed, alone = network(), network()
    train(observed, ActivationObserver(tmp_path), steps=7)
    train(alone, None, steps=7)
    for name, weight in observed.state_dict().items():
        assert weight.equal(alone.state_dict()[name])


def test_no_hook_is_left_when_training_ends_and_none_when_it_fails(tmp_path: Path) -> None:
    observer, observed = ActivationObserver(tmp_path), network()
    observer.begins(observed, 1)
    assert torch_module._global_forward_hooks
    with pytest.raises(RuntimeError), ending(observer):
        observed(torch.zeros(1, 5))
    assert not torch_module._global_forward_hooks
    assert read_activations(tmp_path) is None, "no step was taken, so nothing is written"


def test_hooks_are_gone_even_if_what_was_seen_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        train(network(), ActivationObserver(tmp_path / "nowhere"), steps=2)
    assert not torch_module._global_forward_hooks


def test_a_copy_of_the_network_carries_no_hook_away(tmp_path: Path) -> None:
    observer, observed = ActivationObserver(tmp_path, every=1), network()
    observer.begins(observed, 1)
    averaged = copy.deepcopy(observed)
    averaged(torch.zeros(2, 4))
    observer.on_step(step_record(1))
    observer.ends()
    found = read_activations(tmp_path)
    assert found is not None
    assert found.counts.sum() == 0, "the copy is another network"
    assert not any(module._forward_hooks for module in [*averaged.modules(), *observed.modules()])


def test_a_long_run_is_told_in_a_bounded_number_of_columns_and_loses_no_count(tmp_path: Path) -> None:
    steps = 3 * MOST_COLUMNS
    train(network(), ActivationObserver(tmp_path, every=1), steps=steps)
    found = read_activations(tmp_path)
    assert found is not None
    columns = len(found.steps)
    assert MOST_COLUMNS // 2 <= columns < MOST_COLUMNS
    assert np.all(np.diff(found.steps) > 0)
    assert found.counts[0, 0].sum() == 4 * 48, "a column is the sum of those before it was thinned out"
    assert found.gradient_norms[0, 0] == 2.5, "and the mean of their gradient norms"


def test_a_network_of_very_many_layers_is_looked_at_in_some_of_them(tmp_path: Path) -> None:
    deep = nn.Sequential(*(nn.Linear(2, 2) for _ in range(100)))
    observer = ActivationObserver(tmp_path, every=1)
    observer.begins(deep, 1)
    deep(torch.ones(1, 2))
    observer.on_step(step_record(1))
    observer.ends()
    found = read_activations(tmp_path)
    assert found is not None
    assert len(found.layers) == MOST_LAYERS
    assert (found.layers[0], found.layers[-1]) == ("0", "99")


def test_a_layer_whose_outputs_are_nearly_all_zero_is_said_to_be_so(tmp_path: Path) -> None:
    observed = nn.Sequential(nn.ReLU(), nn.Hardtanh())
    observer = ActivationObserver(tmp_path, every=1)
    observer.begins(observed, 1)
    observed(torch.tensor([[-1.0, -2.0, -3.0, 4.0]]))
    observer.on_step(step_record(1))
    observer.ends()
    found = read_activations(tmp_path)
    assert found is not None
    assert found.near_zero[0].tolist() == [0.75]


def test_what_another_release_wrote_or_nobody_did_reads_as_nothing(tmp_path: Path) -> None:
    assert read_activations(tmp_path) is None
    train(network(), ActivationObserver(tmp_path), steps=1)
    assert read_activations(tmp_path) is not None
    (tmp_path / "activations.json").write_text('{"schema": "hydrazoo.activations/9"}')
    assert read_activations(tmp_path) is None
    (tmp_path / "activations.safetensors").write_bytes(b"torn")
    assert read_activations(tmp_path) is None


def test_it_looks_at_some_steps_at_least(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="from 1 on; got 0"):
        ActivationObserver(tmp_path, every=0)


class _Breaks(Observer):
    """Stops a training at its third step."""

    def begins(self, network: Network, epochs: int) -> None:
        pass

    def on_step(self, record: StepRecord) -> None:
        if record.step == 3:
            raise RuntimeError("no room left")

    def on_epoch(self, record: EpochRecord) -> None:
        pass

    def ends(self) -> None:
        pass


@pytest.mark.parametrize("breaks", [False, True])
def test_the_real_loop_takes_the_hook_off_also_where_it_fails(breaks: bool, tmp_path: Path) -> None:
    task = Classify(labels=("a", "b"))
    available = {"features_NCHW": TensorSpec(name="features_NCHW", dtype="float32", shape=("N", 3, 2, 2))}
    noise = np.random.default_rng(0)

    def split(count: int) -> tuple[list[Example], list[Row], list[dict[str, Any]]]:
        return (
            [
                Example(id=f"{k}", text="", image="x", split="train", slices=(), kind="label", target="ab"[k % 2])
                for k in range(count)
            ],
            [Row(tensors={}, length=1, digest=f"{k}", text="", offsets=()) for k in range(count)],
            [{"features_NCHW": noise.normal(k % 2, 1, (3, 2, 2)).astype(np.float32)} for k in range(count)],
        )

    recipe = Recipe(epochs=3, batch_size=4, hidden=5)
    observers: list[Observer] = [ActivationObserver(tmp_path, every=1), *([_Breaks()] if breaks else [])]

    def run() -> None:
        train_head(
            lambda: make_head(Head(name="h", team="h", task=task), recipe, available),
            lambda network: (encode(network, *split(16)), encode(network, *split(8))),
            recipe,
            observers=observers,
        )

    if breaks:
        with pytest.raises(RuntimeError, match="no room left"):
            run()
    else:
        run()
    assert not torch_module._global_forward_hooks
    found = read_activations(tmp_path)
    assert found is not None
    assert found.steps.tolist() == ([1, 2, 3] if breaks else list(range(1, 13)))
    assert found.gradient_layers == ("head",)
    assert (found.gradient_norms > 0).all()


@pytest.fixture(autouse=True)
def _no_hook_is_left() -> Iterator[None]:
    yield
    torch_module._global_forward_hooks.clear()
