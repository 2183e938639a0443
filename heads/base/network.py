"""What is trained: a head, or private copies of a backbone's last blocks with a head on them."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from backbone.stage import TensorDeclaration
from heads.base.declaration import Task

__all__ = ["Layer", "Network"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Parameters that share a learning rate and are let go together.

    Attributes:
        name: how errors, logs and plots call it.
        depth: how far it is from the answer: 0 is the head, 1 the last block, and so on.
        parameters: what the optimiser may change; no two layers share one.
    """

    name: str
    depth: int
    parameters: tuple[nn.Parameter, ...]


class Network(nn.Module):
    """What the training loop needs of whatever it trains.

    Whatever is in none of its layers is frozen: the loop keeps it in eval mode, batch-norm statistics included.
    ``logits`` is called in training mode while it trains, so dropout and augmentation are the network's own; they
    draw from torch's global random state, which checkpoints keep.

    Attributes:
        task: what kind of answer.
        inputs: what ``reduce`` takes, by name and shape.
        outputs: what ``finish`` gives, a tuple of one.
    """

    task: Task
    inputs: tuple[TensorDeclaration, ...]
    outputs: tuple[TensorDeclaration, ...]

    def reduce(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        """Turn the declared inputs into what ``logits`` takes, without weights; computed once before training."""
        raise NotImplementedError

    def logits(self, *reduced: Tensor) -> Tensor:
        """Return scores before the final step, N rows of them."""
        raise NotImplementedError

    def finish(self, logits: Tensor) -> Tensor:
        """Turn logits into the final output."""
        raise NotImplementedError

    def units(self) -> Sequence[nn.Module]:
        """Return the modules, none within another, that are gathered one by one where processes share out the weights.

        The network calls each of them as a module. Whatever is in none of them is gathered as a whole.
        """
        return ()

    def layers(self) -> Sequence[Layer]:
        """Return what is trained, from the head down; depths are 0, 1, 2, … without gaps."""
        raise NotImplementedError
