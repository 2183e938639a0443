"""``torchrun --nproc-per-node 2 -m tests.support.shared_training FOLDER``: processes that train together.

Each writes, for each case, its weights and its metrics to ``<case>-<rank>.safetensors`` in the folder.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.torch import save_file

from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.training import Checkpoints, EpochProgress, train_head
from tests.support.training_data import SmallTail, mood_head, mood_split

# 50 rows in batches of 7: the last batch has one row, and one of the processes nothing to do.
KEYS: dict[str, Any] = {"epochs": 4, "batch_size": 7, "learning_rate": 0.02}
CASES: dict[str, tuple[Callable[[Recipe], Network], Recipe]] = {
    "head": (mood_head, Recipe(**KEYS, dropout=0.0, class_weights=True)),
    "parts": (mood_head, Recipe(**KEYS, dropout=0.0, accumulate=3)),
    "tail": (SmallTail, Recipe(**KEYS, probe_epochs=1, unfreeze_every=1, ema=0.9)),
}


def train(case: str, out: Path, checkpoints: Checkpoints | None = None) -> list[int]:
    """Train a case, write what came of it, and return the epochs that this process was told."""
    make, recipe = CASES[case]
    told: list[int] = []
    network, _, trained = train_head(
        lambda: make(recipe),
        lambda network: mood_split(network, train_rows=50),
        recipe,
        observers=(EpochProgress(lambda epoch, _epochs: told.append(epoch)),),
        checkpoints=checkpoints,
    )
    save_file(network.state_dict(), out, {"valid": json.dumps(trained.valid), "told": json.dumps(told)})
    return told


def main() -> None:
    """Run as the module's docstring says."""
    import torch

    folder, rank = Path(sys.argv[1]), os.environ["RANK"]
    for case in CASES:
        train(case, folder / f"{case}-{rank}.safetensors", Checkpoints(folder=folder / case, every_steps=5))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
