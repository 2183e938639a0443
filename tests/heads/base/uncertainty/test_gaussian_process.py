"""The random-feature process: it learns, it knows what is far away, and its covariance is what it should be."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heads.base import Classify, Multilabel, Regress
from heads.base.declaration import Task
from heads.base.uncertainty.gaussian_process import (
    GaussianProcessLayer,
    Observed,
    _fit,
    fit_gaussian_process,
    median_distance,
)
from heads.base.uncertainty.laplace import mean_field

MOOD = Classify(labels=("good", "bad"))
WIDTH = 6


def split(rows: int, seed: int) -> Observed:
    """Two clusters, a unit wide and six apart."""
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(rows) % 2
    features = torch.randn(rows, WIDTH, generator=generator)
    features[:, 0] += 6.0 * targets - 3
    return Observed(features=features, targets=targets)


def fitted(count: int = 256) -> GaussianProcessLayer:
    train, valid = split(80, 0), split(24, 1)
    valid.targets[0] = 1 - valid.targets[0]  # else every temperature above the least is worse
    return fit_gaussian_process(train, valid, MOOD, noise=0.0, seed=0, count=count)


LAYER = fitted()


def uncertainty(features: Tensor) -> Tensor:
    return 1 - mean_field(*LAYER(features)).softmax(dim=1).amax(dim=1)


def test_it_learns_what_is_easy() -> None:
    unseen = split(50, 2)
    assert (LAYER(unseen.features)[0].argmax(dim=1) == unseen.targets).float().mean() > 0.95


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_uncertainty_grows_with_the_distance_from_the_training_data(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    way = torch.nn.functional.normalize(torch.randn(1, WIDTH, generator=generator))
    start = split(80, 0).features[seed % 80][None]
    near, further, far = (start + distance * way for distance in (0.0, 12.0, 40.0))
    assert uncertainty(near) < uncertainty(further) + 0.02
    assert uncertainty(near) < uncertainty(far) - 0.1
    assert LAYER(near)[1] < LAYER(further)[1]
    assert LAYER(near)[1] < LAYER(far)[1]


def test_the_variance_is_that_of_the_inverted_precision() -> None:
    train = split(20, 0)
    generator = torch.Generator().manual_seed(3)
    frequencies = torch.randn(WIDTH, 8, generator=generator, dtype=torch.float64) / 3
    phases = torch.rand(8, generator=generator, dtype=torch.float64) * 2 * math.pi
    layer = _fit(train, frequencies, phases, MOOD, 0.5, 0.0)

    def random(features: Tensor) -> Tensor:
        return math.sqrt(2 / 8) * torch.cos(features.double() @ frequencies + phases)

    known = random(train.features)
    likeliest = (known @ layer.weight.double()).softmax(dim=1).amax(dim=1)
    precision = 0.5 * torch.eye(8).double() + sum(
        p * (1 - p) * torch.outer(row, row) for p, row in zip(likeliest, known, strict=True)
    )
    new = random(split(9, 4).features)
    expected = (new @ torch.linalg.inv(precision) * new).sum(dim=1)
    torch.testing.assert_close(layer(split(9, 4).features)[1][:, 0].double(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        (Multilabel(labels=("a", "b")), lambda data: torch.stack((data.targets, 1 - data.targets), dim=1).float()),
        (Regress(low=0, high=1), lambda data: 0.2 + 0.6 * data.targets[:, None].float()),
    ],
    ids=["multilabel", "regress"],
)
def test_labels_and_values_are_learnt_too(task: Task, targets: object) -> None:
    assert callable(targets)
    train, valid = (Observed(features=data.features, targets=targets(data)) for data in (split(80, 0), split(24, 1)))
    layer = fit_gaussian_process(train, valid, task, noise=0.05, seed=0, count=128)
    found = layer(valid.features)[0].sigmoid()
    assert (found - valid.targets).abs().mean() < 0.2


def test_the_scale_of_the_kernel_is_that_of_all_rows_and_not_of_the_first() -> None:
    """Labels are sorted by id, and ids often begin with the name of a class."""
    sorted_ND = torch.randn(1800, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sorted_ND[:, 0] += 100.0 * (torch.arange(1800) // 600)
    assert 90 < median_distance(sorted_ND) < 110


def test_the_same_seed_gives_the_same_bits() -> None:
    again = fitted()
    for name, tensor in LAYER.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name
