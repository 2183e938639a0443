"""The Laplace approximation against brute force, and what its closed form promises."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from heads.base import Classify, Multilabel, Regress
from heads.base.declaration import Task
from heads.base.uncertainty.laplace import fit_laplace, mean_field, posterior_of

TASKS: dict[str, Task] = {
    "classify": Classify(labels=("a", "b", "c")),
    "multilabel": Multilabel(labels=("a", "b")),
    "regress": Regress(low=2, high=10),
}
WIDTH, ROWS, NOISE = 4, 30, 0.1


def small(kind: str) -> tuple[nn.Linear, Tensor, Tensor]:
    torch.manual_seed(0)
    linear = nn.Linear(WIDTH, {"classify": 3, "multilabel": 2, "regress": 1}[kind])
    features = torch.randn(ROWS, WIDTH)
    targets = {
        "classify": torch.arange(ROWS) % 3,
        "multilabel": (torch.rand(ROWS, 2) > 0.5).float(),
        "regress": torch.rand(ROWS, 1),
    }[kind]
    return linear, features, targets


def with_one(features: Tensor) -> Tensor:
    return torch.cat((features, torch.ones(len(features), 1)), dim=1).double()


def hessians(logits: Tensor, kind: str) -> Tensor:
    """The Hessian of each row's loss by its logits, by autograd: (N, C, C)."""

    def loss(row: Tensor) -> Tensor:
        if kind == "classify":
            return torch.logsumexp(row, 0)
        return nn.functional.softplus(row).sum()

    return torch.stack([torch.autograd.functional.hessian(loss, row) for row in logits])  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("kind", ["classify", "multilabel"])
def test_the_covariance_is_the_inverse_of_the_factored_curvature_and_the_prior(kind: str) -> None:
    linear, features, targets = small(kind)
    task, x = TASKS[kind], with_one(features)
    whole = torch.cat((linear.weight, linear.bias[:, None]), dim=1).detach().double()
    posterior = posterior_of(x, x @ whole.T, targets, whole, task, 0.0)
    outputs = hessians(x @ whole.T, kind).mean(dim=0)
    classes = len(outputs)
    inverse = torch.linalg.inv(torch.kron(outputs, x.T @ x) + posterior.precision * torch.eye(classes * x.shape[1]))
    new = with_one(torch.randn(7, WIDTH))
    jacobian = torch.stack([torch.kron(torch.eye(classes).double(), row[None]) for row in new])
    if kind == "classify":  # a softmax sees logits but for their mean
        jacobian = jacobian - jacobian.mean(dim=1, keepdim=True)
    expected = (jacobian @ inverse @ jacobian.mT).diagonal(dim1=1, dim2=2)
    _, variances = fit_laplace(linear, features, targets, task, 0.0)(new[:, :-1].float())
    wanted = expected.mean(dim=1, keepdim=True) if kind == "classify" else expected
    torch.testing.assert_close(variances.double(), wanted, rtol=1e-4, atol=1e-6)


def test_of_a_value_the_covariance_is_exact_gauss_newton() -> None:
    linear, features, targets = small("regress")
    x = with_one(features)
    share = linear(features).detach().double().sigmoid()
    jacobian = x * share * (1 - share) / NOISE
    whole = torch.cat((linear.weight, linear.bias[:, None]), dim=1).detach().double()
    precision = posterior_of(x, x @ whole.T, targets, whole, TASKS["regress"], NOISE).precision
    inverse = torch.linalg.inv(jacobian.T @ jacobian + precision * torch.eye(WIDTH + 1))
    _, variances = fit_laplace(linear, features, targets, TASKS["regress"], NOISE)(features)
    torch.testing.assert_close(variances[:, 0].double(), (x @ inverse * x).sum(dim=1), rtol=1e-4, atol=1e-6)


def test_the_prior_is_the_one_of_largest_evidence_as_dense_algebra_has_it() -> None:
    linear, features, targets = small("regress")
    x = with_one(features)
    whole = torch.cat((linear.weight, linear.bias[:, None]), dim=1).detach().double()
    found = posterior_of(x, x @ whole.T, targets, whole, TASKS["regress"], NOISE).precision
    share = (x @ whole.T).sigmoid()
    jacobian = x * share * (1 - share) / NOISE

    def evidence(precision: float) -> float:
        curvature = jacobian.T @ jacobian + precision * torch.eye(WIDTH + 1)
        prior = (WIDTH + 1) * math.log(precision) / 2 - precision * float(whole.square().sum()) / 2
        return prior - float(torch.logdet(curvature)) / 2

    assert evidence(found) >= max(evidence(other) for other in torch.logspace(-4, 4, 81).tolist()) - 1e-9


@pytest.mark.parametrize("kind", TASKS)
def test_means_are_the_trained_layers_answers(kind: str) -> None:
    linear, features, targets = small(kind)
    means, variances = fit_laplace(linear, features, targets, TASKS[kind], NOISE)(features)
    trained = linear(features).detach()
    expected = trained - trained.mean(dim=1, keepdim=True) if kind == "classify" else trained
    torch.testing.assert_close(means, expected, rtol=1e-5, atol=1e-5)
    assert (variances > 0).all()


def test_a_common_shift_of_all_logits_changes_nothing() -> None:
    linear, features, targets = small("classify")
    shifted = nn.Linear(WIDTH, 3)
    shifted.weight.data, shifted.bias.data = linear.weight.data + 1.5, linear.bias.data - 4
    for one, other in zip(
        fit_laplace(linear, features, targets, TASKS["classify"], 0.0)(features),
        fit_laplace(shifted, features, targets, TASKS["classify"], 0.0)(features),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-4)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), spread=st.floats(0, 1e6))
def test_probabilities_sum_to_one_and_keep_their_order_whatever_the_variance(seed: int, spread: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    means = torch.randn(5, 4, generator=generator).double() * 5
    scores = mean_field(means, torch.full((5, 1), spread).double()).softmax(dim=1)
    torch.testing.assert_close(scores.sum(dim=1), torch.ones(5).double())
    assert torch.equal(scores.argmax(dim=1), means.argmax(dim=1))
    assert (scores.amax(dim=1) <= means.softmax(dim=1).amax(dim=1) + 1e-12).all()


def test_the_mean_of_a_sigmoid_over_gaussian_logits_is_close() -> None:
    nodes = torch.randn(200_000, generator=torch.Generator().manual_seed(0))
    for mean, variance in ((0.5, 1.0), (-2.0, 4.0), (3.0, 9.0)):
        sampled = (mean + math.sqrt(variance) * nodes).sigmoid().mean()
        closed = mean_field(torch.tensor([[mean]]), torch.tensor([[variance]])).sigmoid()
        assert float(closed) == pytest.approx(float(sampled), abs=0.02)
