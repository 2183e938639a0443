"""The tail: private copies of a backbone's last stages, in front of a head and trained with it."""

import copy
from collections.abc import Iterator, Sequence
from typing import cast

from torch import Tensor, nn

from backbone.stage import Stage, TensorDeclaration, run_path
from heads.base.declaration import Tail
from heads.base.errors import InvalidHead
from heads.base.network import Layer, Network
from heads.base.tails import lora
from heads.base.tasks.modules import HeadStage

__all__ = ["TailedHead", "private_path"]


class TailedHead(Network):
    """A head on private copies of the last stages of a backbone, trained on what the first of them reads.

    Only the blocks that the tail counts are trained. Whatever else is in the copied stages stays as it is, in eval
    mode: no drop-out, and no batch statistics that move.

    Args:
        stages: of the backbone, from the one with the first trained block on. They are copied.
        head: what reads the tensors after them.
        tail: how many blocks are trained, and how.
        noise: changes the first input in training mode, as augmentation does; None changes nothing.

    Raises:
        InvalidHead: there is nothing in the blocks that the tail could train.
    """

    def __init__(self, stages: Sequence[Stage], head: HeadStage, tail: Tail, noise: nn.Module | None = None) -> None:
        super().__init__()
        copies = copy.deepcopy(list(stages))
        self.stages = nn.ModuleList(copies).requires_grad_(False)
        self.head = head
        self.noise = noise
        self.task = head.task
        self.inputs = _read(copies, head)
        self.outputs = head.outputs
        for stage in copies:
            stage.name = f"{head.name.rpartition('/')[0]}/{stage.name.rpartition('/')[2]}"
        self._layers = (*head.layers(), *_trained(copies, tail))

    def layers(self) -> tuple[Layer, ...]:
        """Return what is trained: the head, the last block, and so on down; the embeddings come last."""
        return self._layers

    def units(self) -> tuple[nn.Module, ...]:
        """Return the blocks."""
        parts = (part for stage in self.private_stages() for block in stage.block_parts() for part in block)
        return tuple(part for part in parts if any(True for _ in part.parameters()))

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Keep the inputs: what depends on no trained weight was computed before them."""
        return inputs

    def logits(self, *reduced: Tensor) -> Tensor:
        """Run the copied stages and the head; return scores before the final step, as the head gives them."""
        known = dict(zip((declared.name for declared in self.inputs), reduced, strict=True))
        if self.training and self.noise is not None:
            first = self.inputs[0].name
            known[first] = self.noise(known[first])
        known = run_path(self.private_stages(), known)
        return self.head.logits(*self.head.reduce(*(known[declared.name] for declared in self.head.inputs)))

    def finish(self, logits: Tensor) -> Tensor:
        """Turn logits into the final output, as the head does."""
        return self.head.finish(logits)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return the one declared output."""
        return (self.finish(self.logits(*self.reduce(*tensors))),)

    def train(self, mode: bool = True) -> "TailedHead":
        """Set training mode; a part of the copies with no weight to train at the moment stays in eval mode."""
        super().train(mode)
        for part in self.stages.modules():
            weights = list(part.parameters())
            if weights and not any(weight.requires_grad for weight in weights):
                part.eval()
        return self

    def merge(self) -> None:
        """End the training: low-rank additions go into the weights they stand beside, and all weights to the CPU."""
        lora.merge(self.stages)
        self.to("cpu").requires_grad_(False)
        self._layers = ()

    def private_stages(self) -> tuple[Stage, ...]:
        """Return the copied stages."""
        return tuple(cast("Stage", stage) for stage in self.stages)


def private_path(network: Network) -> tuple[Stage, ...]:
    """Return the stages of a trained network: what it adds to the shared ones of its path, the head last.

    Args:
        network: a head, or a tail that was merged.
    """
    if isinstance(network, TailedHead):
        return (*network.private_stages(), network.head)
    assert isinstance(network, Stage), "a network is a head, or a tail with a head on it"
    return (network,)


def _read(stages: Sequence[Stage], head: HeadStage) -> tuple[TensorDeclaration, ...]:
    """Return what the stages and the head read and none of them gives."""
    read: dict[str, TensorDeclaration] = {}
    given: set[str] = set()
    for stage in (*stages, head):
        read.update({each.name: each for each in stage.inputs if each.name not in given and each.name not in read})
        given.update(each.name for each in stage.outputs)
    return tuple(read.values())


def _trained(stages: Sequence[Stage], tail: Tail) -> Iterator[Layer]:
    """Let go what the tail trains, and yield it as layers, the last block first."""
    blocks = [parts for stage in stages for parts in stage.block_parts()]
    end = int(stages[-1].architecture["blocks"][1])
    count = len(blocks) if tail.blocks == "all" else tail.blocks
    assert count <= len(blocks), f"{count} trained blocks are not in {len(blocks)}"
    for depth, parts in enumerate(blocks[: -count - 1 : -1], start=1):
        yield Layer(name=f"block {end - depth}", depth=depth, parameters=_let_go(parts, tail))
    if tail.blocks == "all" and tail.how == "full" and (rest := _frozen(stages)):
        for weight in rest:
            weight.requires_grad_(True)
        yield Layer(name="embeddings", depth=count + 1, parameters=rest)


def _let_go(parts: Sequence[nn.Module], tail: Tail) -> tuple[nn.Parameter, ...]:
    """Make what is trained of a block trainable, and return it."""
    if tail.how == "full":
        weights = tuple(weight for part in parts for weight in part.requires_grad_(True).parameters())
    else:
        for part in parts:
            lora.adapt(part, rank=tail.rank, alpha=tail.alpha)
        weights = tuple(weight for part in parts for weight in part.parameters() if weight.requires_grad)
    if not weights:
        raise InvalidHead(
            f"A block of the backbone has nothing that how={tail.how!r} could train: {type(parts[0]).__name__} holds "
            "no linear layers. Use how='full'."
        )
    return weights


def _frozen(stages: Sequence[Stage]) -> tuple[nn.Parameter, ...]:
    # A table that all stages share is in each of them, and is one parameter.
    return tuple(dict.fromkeys(weight for stage in stages for weight in stage.parameters() if not weight.requires_grad))
