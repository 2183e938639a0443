"""The loss of vectors: against its formula written out, and where a batch has little to say."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.base.tasks.contrast import TEMPERATURE, count_anchors, supervised_contrastive


def written_out(vectors: torch.Tensor, labels: list[int]) -> float:
    """Return the loss as the formula says it, pair by pair."""
    unit = (vectors / vectors.norm(dim=1, keepdim=True)).tolist()
    scores = [[sum(a * b for a, b in zip(one, other, strict=True)) / TEMPERATURE for other in unit] for one in unit]
    losses = []
    for i, label in enumerate(labels):
        others = [j for j in range(len(labels)) if j != i]
        alike = [j for j in others if labels[j] == label]
        if alike:
            total = math.log(sum(math.exp(scores[i][j]) for j in others))
            losses.append(sum(total - scores[i][j] for j in alike) / len(alike))
    return sum(losses) / len(losses) if losses else 0.0


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 2**32 - 1))
def test_the_loss_is_that_of_its_formula(labels: list[int], seed: int) -> None:
    vectors = torch.randn(len(labels), 5, generator=torch.Generator().manual_seed(seed))
    loss = supervised_contrastive(vectors, torch.tensor(labels))
    assert loss.item() == pytest.approx(written_out(vectors.double(), labels), rel=1e-4, abs=1e-5)


@given(st.lists(st.integers(0, 2), min_size=2, max_size=8), st.floats(0.1, 50))
def test_only_the_directions_of_vectors_count(labels: list[int], factor: float) -> None:
    vectors = torch.randn(len(labels), 4, generator=torch.Generator().manual_seed(1))
    losses = [supervised_contrastive(each, torch.tensor(labels)).item() for each in (vectors, vectors * factor)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-3, abs=1e-5)


@pytest.mark.parametrize("labels", [[7], [1, 2, 3]], ids=["one row", "no two alike"])
def test_a_batch_in_which_nothing_is_alike_moves_no_weight(labels: list[int]) -> None:
    vectors = torch.randn(len(labels), 4, requires_grad=True)
    loss = supervised_contrastive(vectors, torch.tensor(labels))
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert loss.item() == 0
    assert vectors.grad is not None
    assert not vectors.grad.any()
    assert count_anchors(torch.tensor(labels)) == 1


def test_the_gradient_draws_what_is_alike_together() -> None:
    vectors = torch.nn.Parameter(torch.randn(6, 3, generator=torch.Generator().manual_seed(0)))
    labels = torch.tensor([0, 0, 0, 1, 1, 1])
    optimizer = torch.optim.Adam([vectors], lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        supervised_contrastive(vectors, labels).backward()  # type: ignore[no-untyped-call] # as above
        optimizer.step()
    unit = torch.nn.functional.normalize(vectors.detach(), dim=1)
    cosines = unit @ unit.T
    assert cosines[:3, :3].min() > 0.5
    assert cosines[:3, 3:].max() < 0
