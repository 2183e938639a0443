"""``python -m tests.support.killed_training FOLDER RECIPE EVERY_STEPS SEED``: a training that is killed over and over.

This process trains to the end. Then it forks others, which it kills by SIGKILL at random steps, each going on from the
checkpoints of the one before, until one ends. What both came to is written to ``plain.safetensors`` and
``killed.safetensors`` in the folder; where each process began is printed as JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import torch
from safetensors.torch import save_file

from heads.base.recipe import Recipe, parse_recipe
from heads.base.training import Checkpoints, Observer, StepRecord, train_head
from tests.support.training_data import SmallTail, mood_split

KILLS = 6


class ToldSteps(Observer):
    """Writes the number of each step to a pipe."""

    def __init__(self, pipe: int) -> None:
        self.pipe = pipe

    def on_step(self, record: StepRecord) -> None:
        os.write(self.pipe, record.step.to_bytes(4, "big"))


def train(recipe: Recipe, out: Path, pipe: int, checkpoints: Checkpoints | None) -> None:
    """Train, and write the weights, the score and the seconds."""
    network, _, trained = train_head(
        lambda: SmallTail(recipe),
        lambda network: mood_split(network, clear=0.5),
        recipe,
        observers=(ToldSteps(pipe),),
        checkpoints=checkpoints,
    )
    save_file(network.state_dict(), out, {"trained": json.dumps([trained.epochs, trained.best_epoch, trained.valid])})


def run(recipe: Recipe, out: Path, checkpoints: Checkpoints, kill_at: int, delay_s: float) -> int:
    """Train in a process of its own, which is killed a moment after the given step; return its first step."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        train(recipe, out, writing, checkpoints)
        os._exit(0)
    os.close(writing)
    first = 0
    while told := os.read(reading, 4):
        step = int.from_bytes(told, "big")
        first = first or step
        if step == kill_at:
            time.sleep(delay_s)
            os.kill(child, signal.SIGKILL)
            break
    status = os.waitpid(child, 0)[1]
    os.close(reading)
    assert os.waitstatus_to_exitcode(status) in ((0,) if not kill_at else (0, -signal.SIGKILL)), status
    return first


def main() -> None:
    """Run as the module's docstring says."""
    folder, text, every_steps, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    recipe = parse_recipe(json.loads(text), where="the test")
    torch.set_num_threads(1)
    chance = random.Random(seed)
    checkpoints = Checkpoints(folder=folder / "checkpoint", every_steps=every_steps, key="k")
    # Not in a process of its own, so that what torch imports at its first step is there for all that are forked.
    train(recipe, folder / "plain.safetensors", os.open(os.devnull, os.O_WRONLY), None)
    killed = folder / "killed.safetensors"
    kills = sorted(chance.sample(range(3, 66), KILLS))
    firsts = [run(recipe, killed, checkpoints, step, chance.uniform(0, 0.004)) for step in kills]
    if not killed.exists():
        firsts.append(run(recipe, killed, checkpoints, 0, 0))
    print(json.dumps(firsts))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main()
