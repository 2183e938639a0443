"""The loss of masks: what counts, what does not, and where it ends."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from heads.base.tasks.overlap import count_labelled, dice_loss, make_pixel_loss
from zoo.masks import UNLABELLED


def scores_of(places: torch.Tensor, labels: int, sure: float = 20.0) -> torch.Tensor:
    """Return logits that are sure of the given places, (N, C, H, W)."""
    wanted = torch.nn.functional.one_hot(places.clamp(max=labels - 1).long(), labels).movedim(-1, 1)
    return (wanted * 2 - 1) * sure


PLACES = torch.tensor([[[0, 1, 2], [1, 1, 0]]], dtype=torch.uint8)


def test_a_mask_that_is_right_costs_nothing() -> None:
    assert make_pixel_loss(None, 0)(scores_of(PLACES, 3), PLACES).item() == pytest.approx(0, abs=1e-6)


def test_a_mask_that_is_wrong_everywhere_costs_what_its_entropy_and_its_overlap_say() -> None:
    wrong = scores_of((PLACES + 1) % 3, 3)
    assert dice_loss(wrong, PLACES).item() == pytest.approx(1 - (1 / 4 + 1 / 6 + 1 / 5) / 3, abs=0.03)
    assert make_pixel_loss(None, 0)(wrong, PLACES).item() == pytest.approx(40 + dice_loss(wrong, PLACES).item())


@given(st.integers(0, 2**32 - 1))
def test_pixels_without_a_label_count_for_nothing(seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 4, 4, generator=random)
    places = torch.randint(0, 3, (2, 4, 4), generator=random).to(torch.uint8)
    hidden = torch.rand(2, 4, 4, generator=random) < 0.4
    places[hidden] = UNLABELLED
    other = torch.where(hidden[:, None], torch.randn(2, 3, 4, 4, generator=random), logits)
    loss = make_pixel_loss(torch.tensor([1.0, 2.0, 3.0]), 0.1)
    assert loss(logits, places).item() == pytest.approx(loss(other, places).item(), rel=1e-5)


def test_a_batch_without_any_label_moves_no_weight() -> None:
    logits = torch.randn(1, 2, 3, 3, requires_grad=True)
    nothing = torch.full((1, 3, 3), UNLABELLED, dtype=torch.uint8)
    loss = make_pixel_loss(None, 0)(logits, nothing)
    loss.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
    assert loss.isfinite()
    assert logits.grad is not None
    assert not logits.grad.any()
    assert count_labelled(nothing) == 1


def test_a_rare_label_weighs_as_much_in_the_overlap_as_a_frequent_one() -> None:
    places = torch.zeros(1, 20, 20, dtype=torch.uint8)
    places[0, 3:7, 3:7] = 1
    all_ground = scores_of(torch.zeros_like(places), 2)
    assert dice_loss(all_ground, places).item() > 0.45
