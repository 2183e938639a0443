"""Calibration: the temperature that was put in is found, and errors of calibration are those of other libraries."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torchmetrics.classification import BinaryCalibrationError, MulticlassCalibrationError

from heads.base.errors import InvalidHead
from heads.base.uncertainty.calibration import auroc, calibration_error, confidences, fit_temperature, mean_nll


def drawn(rows: int, classes: int, factor: float, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits that are ``factor`` times too large for the classes drawn by them."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator) * 2
    return logits * factor, torch.multinomial(logits.softmax(dim=-1), 1, generator=generator)[:, 0]


@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_temperature_recovers_the_factor_that_logits_are_too_large_by(factor: float) -> None:
    logits, targets = drawn(20_000, 5, factor)
    assert fit_temperature(logits, targets) == pytest.approx(factor, rel=0.04)


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_one_temperature_fits_all_labels_where_any_number_apply(factor: float) -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(8_000, 3, generator=generator) * 2
    wanted = torch.bernoulli(logits.sigmoid(), generator=generator)
    assert fit_temperature(logits * factor, wanted) == pytest.approx(factor, rel=0.04)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(2, 40), classes=st.integers(2, 6), factor=st.floats(0.1, 10))
def test_no_other_temperature_is_likelier(seed: int, rows: int, classes: int, factor: float) -> None:
    logits, targets = drawn(rows, classes, factor, seed)
    targets[0], targets[1] = 0, 1
    temperature = fit_temperature(logits, targets)
    assert 0.05 <= temperature <= 20
    least = mean_nll(logits / temperature, targets)
    for other in np.geomspace(0.05, 20, 50):
        assert least <= mean_nll(logits / other, targets) + 1e-6
    assert torch.equal((logits / temperature).argmax(dim=1), logits.argmax(dim=1))


def test_where_every_answer_is_right_the_temperature_stays_within_its_bounds() -> None:
    assert fit_temperature(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1])) == pytest.approx(0.05)


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        (torch.tensor([1, 1, 1]), r"All 3 examples of the valid split have the same class, .* at least two"),
        (torch.zeros(3, 2), r"All 3 examples .* the same answer to every label"),
        (torch.tensor([], dtype=torch.int64), r"valid split has no examples"),
    ],
    ids=["one class", "no label", "empty"],
)
def test_a_split_with_nothing_to_tell_apart_is_refused(targets: torch.Tensor, message: str) -> None:
    with pytest.raises(InvalidHead, match=message):
        fit_temperature(torch.zeros(len(targets), 2), targets)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), rows=st.integers(1, 300))
def test_the_calibration_error_is_that_of_torchmetrics(seed: int, rows: int) -> None:
    logits, targets = drawn(rows, 4, 2.0, seed)
    several = MulticlassCalibrationError(num_classes=4, n_bins=15, norm="l1")(logits.softmax(dim=-1), targets)
    assert calibration_error(*confidences(logits, targets)) == pytest.approx(float(several), abs=1e-5)
    wanted = (targets > 1).float()[:, None]
    one = BinaryCalibrationError(n_bins=15, norm="l1")(logits[:, 0].sigmoid(), wanted[:, 0].long())
    assert calibration_error(*confidences(logits[:, :1], wanted)) == pytest.approx(float(one), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(inside=st.lists(st.integers(0, 9), min_size=1, max_size=30), outside=st.lists(st.integers(0, 9), min_size=1))
def test_auroc_is_that_of_scikit_learn_ties_included(inside: list[int], outside: list[int]) -> None:
    expected = roc_auc_score([0] * len(inside) + [1] * len(outside), inside + outside)
    assert auroc(np.array(inside, float), np.array(outside, float)) == pytest.approx(expected)
