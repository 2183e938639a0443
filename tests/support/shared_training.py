"""``torchrun --nproc-per-node 2 -m tests.support.shared_training FOLDER``: processes that train together.

Each writes, for each case, its weights and its metrics to ``<case>-<rank>.safetensors`` in the folder.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn
from torch.distributed.tensor import DTensor

from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.training import Checkpoints, EpochProgress, train_head
from heads.base.training.stepping import Stepper
from tests.support.training_data import SmallTail, mood_head, mood_split

# 50 rows in batches of 7: the last batch has one row, and one of the processes nothing to do.
KEYS: dict[str, Any] = {"epochs": 4, "batch_size": 7, "learning_rate": 0.02}


def still_tail(recipe: Recipe) -> SmallTail:
    """Return a tail without drop-out, whose random numbers would depend on how batches are cut."""
    tail = SmallTail(recipe)
    for part in tail.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0.0
    return tail


# Parts of a batch, gradients that are clipped, an average, and blocks that are let go one after the other.
STEADY: dict[str, Any] = {"accumulate": 2, "ema": 0.9, "unfreeze_every": 1, "dropout": 0.0}
CASES: dict[str, tuple[Callable[[Recipe], Network], Recipe]] = {
    "head": (mood_head, Recipe(**KEYS, dropout=0.0, class_weights=True)),
    "parts": (mood_head, Recipe(**KEYS, dropout=0.0, accumulate=3)),
    "sharded": (still_tail, Recipe(**KEYS, **STEADY, sharded=True)),
    "together": (still_tail, Recipe(**KEYS, **STEADY)),
    "tail": (SmallTail, Recipe(**KEYS, probe_epochs=1, unfreeze_every=1, ema=0.9)),
}


class Stopped(Exception):
    """A training is to end here."""


def train(case: str, out: Path, checkpoints: Checkpoints | None = None) -> list[int]:
    """Train a case, write what came of it, and return the epochs that this process was told."""
    make, recipe = CASES[case]
    told: list[int] = []
    made: list[Network] = []

    def kept() -> Network:
        made.append(make(recipe))
        return made[-1]

    network, _, trained = train_head(
        kept,
        lambda network: mood_split(network, train_rows=50),
        recipe,
        observers=(EpochProgress(lambda epoch, _epochs: told.append(epoch)),),
        checkpoints=checkpoints,
    )
    words = {"valid": trained.valid, "told": told, "held": held(made[0])}
    save_file(network.state_dict(), out, {name: json.dumps(value) for name, value in words.items()})
    return told


@contextmanager
def stops_at(step: int) -> Iterator[None]:
    """Let trainings in this process end before a step."""
    plain, steps = Stepper.gradients, iter(range(1, step))

    def gradients(self: Stepper, rows: Sequence[int]) -> float:
        if next(steps, None) is None:
            raise Stopped
        return plain(self, rows)

    Stepper.gradients = gradients  # type: ignore[method-assign]
    try:
        yield
    finally:
        Stepper.gradients = plain  # type: ignore[method-assign]


def held(network: Network) -> float:
    """Return the share of the bytes of a network's weights that this process holds."""
    weights = list(network.parameters())
    own = [weight.to_local() if isinstance(weight, DTensor) else weight for weight in weights]
    return sum(each.nbytes for each in own) / sum(weight.nbytes for weight in weights)


def main() -> None:
    """Run as the module's docstring says."""
    import torch

    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    for case in sys.argv[2:] or CASES:
        train(case, folder / f"{case}-{rank}.safetensors", Checkpoints(folder=folder / case, every_steps=5))
    stopped = Checkpoints(folder=folder / "stopped", every_steps=5)
    with stops_at(12), suppress(Stopped):
        train("sharded", folder / "none", stopped)
    train("sharded", folder / f"resumed-{rank}.safetensors", stopped)
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
