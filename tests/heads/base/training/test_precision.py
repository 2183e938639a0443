"""Precision: products in the lower format; weights, norms, losses and what is published in fp32."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from heads.base.errors import InvalidRecipe
from heads.base.recipe import Recipe
from heads.base.training import train_head
from heads.base.training.precision import Precision
from tests.support.training_data import mood_head, mood_split, seeded_tail

CPU = torch.device("cpu")


def test_bf16_computes_products_in_bf16_and_norms_in_fp32() -> None:
    precision = Precision(Recipe(precision="bf16"), CPU)
    with precision.computing():
        product = nn.Linear(4, 4)(torch.ones(2, 4))
        norms = [
            nn.LayerNorm(4)(product),
            nn.BatchNorm1d(4)(product),
            nn.GroupNorm(2, 4)(product),
            F.layer_norm(product, (4,)),
            nn.RMSNorm(4)(product),
        ]
    assert product.dtype == torch.bfloat16
    assert {norm.dtype for norm in norms} == {torch.float32}


@pytest.mark.parametrize("make", [mood_head, seeded_tail])
def test_bf16_learns_as_fp32_does_and_ends_in_fp32(make: Callable[[Recipe], Any]) -> None:
    recipe = Recipe(epochs=10, batch_size=16, learning_rate=0.02, precision="bf16")
    network, _, trained = train_head(lambda: make(recipe), mood_split, recipe)
    plain, _, _ = train_head(lambda: make(recipe), mood_split, recipe.model_copy(update={"precision": "fp32"}))
    assert trained.valid["macro_f1"] == 1.0
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert any(not torch.equal(one, other) for one, other in zip(network.parameters(), plain.parameters(), strict=True))


def test_fp16_on_a_cpu_is_refused() -> None:
    recipe = Recipe(precision="fp16")
    with pytest.raises(InvalidRecipe, match=r"precision is 'fp16', and the network is on the cpu; .* Set precision"):
        train_head(lambda: mood_head(recipe), mood_split, recipe)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_lower_precisions_learn_on_a_gpu(precision: Any) -> None:
    recipe = Recipe(epochs=10, batch_size=16, learning_rate=0.02, precision=precision)
    network, _, trained = train_head(lambda: seeded_tail(recipe).to("cuda"), mood_split, recipe)
    assert trained.valid["macro_f1"] == 1.0
    assert {(each.dtype, each.device.type) for each in network.parameters()} == {(torch.float32, "cuda")}
