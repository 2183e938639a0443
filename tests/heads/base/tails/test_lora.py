"""Low-rank adapters: they begin as nothing, merge into what they were, and train nothing else."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from heads.base.errors import InvalidHead
from heads.base.tails.lora import LowRank, adapt, merge


def block() -> nn.Module:
    """An attention's worth of linear layers, one of them deeper, and a norm."""
    return nn.Sequential(nn.Linear(12, 16), nn.LayerNorm(16), nn.Sequential(nn.GELU(), nn.Linear(16, 12, bias=False)))


def perturbed(part: nn.Module) -> nn.Module:
    with torch.no_grad():
        for weight in (weight for weight in part.parameters() if weight.requires_grad):
            weight.add_(torch.randn_like(weight))
    return part


def test_an_adapter_begins_as_the_layer_that_it_stands_for() -> None:
    part, values = block(), torch.randn(5, 12)
    before = part(values)
    adapt(part, rank=3, alpha=6.0)
    assert torch.equal(part(values), before)


def test_only_additions_of_linear_layers_are_trained_wherever_they_lie() -> None:
    part = block().requires_grad_(False)
    adapt(part, rank=3, alpha=6.0)
    trained = {name for name, weight in part.named_parameters() if weight.requires_grad}
    assert trained == {"0.a", "0.b", "2.1.a", "2.1.b"}
    assert sum(weight.numel() for weight in part.parameters() if weight.requires_grad) == 2 * 3 * (12 + 16)


@settings(max_examples=25, deadline=None)
@given(rank=st.integers(1, 11), alpha=st.floats(0.25, 32), sizes=st.lists(st.integers(1, 4), min_size=0, max_size=2))
def test_merged_weights_answer_as_the_adapter_did_but_for_rounding(rank: int, alpha: float, sizes: list[int]) -> None:
    torch.manual_seed(rank)
    part = block()
    names = set(part.state_dict())
    adapt(part, rank=rank, alpha=alpha)
    perturbed(part)
    values = torch.randn(*sizes, 12)
    before = part(values)
    assert not torch.equal(before, block()(values))
    merge(part)
    assert set(part.state_dict()) == names, "the shape of the plain block again"
    assert not any(isinstance(module, LowRank) for module in part.modules())
    torch.testing.assert_close(part(values), before, rtol=1e-4, atol=1e-4 * alpha)


def test_scale_is_alpha_over_rank() -> None:
    layer = LowRank(nn.Linear(4, 4, bias=False), rank=2, alpha=6.0)
    with torch.no_grad():
        layer.linear.weight.zero_()
        layer.a.copy_(torch.eye(4)[:2])
        layer.b.copy_(torch.eye(4)[:, :2])
    assert torch.equal(layer(torch.ones(4)), torch.tensor([3.0, 3.0, 0.0, 0.0]))


def test_a_rank_that_saves_nothing_is_refused() -> None:
    with pytest.raises(InvalidHead, match=r"rank 12, .* 12 to 16; expected a rank below 12"):
        adapt(block(), rank=12, alpha=1.0)
