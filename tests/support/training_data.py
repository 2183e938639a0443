"""Networks and splits for tests of the training loop: small enough to train in a blink, and real."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.stage import TensorDeclaration
from heads.base import Classify, Head
from heads.base.declaration import Task
from heads.base.network import Layer, Network
from heads.base.recipe import Recipe
from heads.base.tasks.modules import HeadStage, make_head
from heads.base.training import Encoded, encode
from zoo.labels import Example, Target
from zoo.manifest import TensorSpec
from zoo.preprocessing import Row

WIDTH = 8
AVAILABLE = {
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH)),
}
MOOD = Classify(labels=("good", "bad"))


def examples_of(targets: Sequence[Target], *, seed: int, scale: float = 1.0, clear: float = 4.0) -> Any:
    """Rows of 3 to 6 tokens whose first token's features say the target.

    Returns:
        Examples, rows and features, as ``encode`` takes them.
    """
    noise = np.random.default_rng(seed)
    examples, rows, features = [], [], []
    for number, target in enumerate(targets):
        length = int(noise.integers(3, 7))
        tokens_TD = noise.normal(0, 0.3, (length, WIDTH)).astype(np.float32)
        tokens_TD[0, 0] += scale * (clear if target in ("good", ("a",), 9.0) else -clear)
        offsets = tuple((2 * position, 2 * position + 1) for position in range(length))
        rows.append(Row(tensors={}, length=length, digest=str(number), text="x " * length, offsets=offsets))
        features.append({"tokens_NTD": tokens_TD, "mask_NT": np.ones(length, np.int64)})
        example = Example(id=f"e{number}", text="x", image="", split="train", slices=(), kind="", target=target)
        examples.append(example)
    return examples, rows, features


def mood_split(network: Network, *, clear: float = 4.0, train_rows: int = 48) -> tuple[Encoded, Encoded]:
    """Return a train and a valid split of two moods; the smaller ``clear``, the harder they are to tell apart."""
    pair: tuple[Target, ...] = ("good", "bad")
    return (
        encode(network, *examples_of(pair * (train_rows // 2), seed=1, clear=clear)),
        encode(network, *examples_of(pair * 8, seed=2, clear=clear)),
    )


def mood_head(recipe: Recipe, task: Task = MOOD) -> HeadStage:
    """Return an untrained head on tokens."""
    return make_head(Head(name="h", team="h", task=task), recipe, AVAILABLE)


class Block(nn.Module):
    """A block as a backbone has them: linear, batch norm, drop-out."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        self.norm = nn.BatchNorm1d(width)
        self.dropout = nn.Dropout(0.3)

    def forward(self, vectors_ND: Tensor) -> Tensor:
        found: Tensor = vectors_ND + self.dropout(F.gelu(self.norm(self.linear(vectors_ND))))
        return found


class SmallTail(Network):
    """A head on two blocks that train, on a block that is frozen.

    Args:
        recipe: of the head.
    """

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.head = mood_head(recipe)
        self.task = self.head.task
        self.inputs: tuple[TensorDeclaration, ...] = self.head.inputs
        self.outputs = self.head.outputs
        self.frozen = Block(WIDTH).requires_grad_(False)
        self.first, self.last = Block(WIDTH), Block(WIDTH)

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        return self.head.reduce(*inputs)

    def logits(self, *reduced: Tensor) -> Tensor:
        return self.head.logits(self.last(self.first(self.frozen(reduced[0]))))

    def finish(self, logits: Tensor) -> Tensor:
        return self.head.finish(logits)

    def units(self) -> Sequence[nn.Module]:
        return (self.frozen, self.first, self.last)

    def layers(self) -> Sequence[Layer]:
        parts = (("head", self.head), ("block 2", self.last), ("block 1", self.first))
        return [
            Layer(name=name, depth=depth, parameters=tuple(part.parameters()))
            for depth, (name, part) in enumerate(parts)
        ]


def bits_of(network: nn.Module) -> dict[str, bytes]:
    """Return a network's weights as bytes, by name."""
    return {name: tensor.detach().numpy().tobytes() for name, tensor in network.state_dict().items()}


def seeded_tail(recipe: Recipe) -> SmallTail:
    """Return a tail made under the recipe's seed, as ``train_head`` makes it."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        return SmallTail(recipe)
