"""What cached features are worth: an epoch, and a whole fine-tuning beside the Hugging Face Trainer, body frozen."""

import time
from collections.abc import Sequence
from pathlib import Path

import click
import numpy as np
import torch
from numpy.typing import NDArray

from backbone.stage import run_path
from benchmarks.finetune.bench import Bar, Figures, folder_option, prepared, report, rounds_option, zoo_folder
from benchmarks.serving.bench import child
from heads.base.inspect.statistics import bootstrap
from heads.base.packages import load_package
from heads.base.tasks.losses import make_loss
from heads.base.tasks.metrics import measure
from heads.base.training import EpochRecord, Observer, encode, train_head
from zoo import Zoo
from zoo.preprocessing import collate

__all__ = ["epochs_main"]

EPOCHS_TIMED = 10
RESAMPLES = 1000


class _Epochs(Observer):
    """Keeps how long each epoch took."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_epoch(self, record: EpochRecord) -> None:
        self.seconds.append(record.seconds)


@click.command()
@click.option("--team", default="intent", show_default=True, help="A team that classifies texts.")
@click.option("--epochs", default=0, help="Of the whole fine-tuning; 0 for the recipe's.")
@rounds_option
@folder_option
def epochs_main(team: str, epochs: int, rounds: int, folder: Path | None) -> None:
    """An epoch on cached features, and a whole fine-tuning with nothing cached before.

    Example: python -m benchmarks.finetune epochs --rounds 3
    """
    with zoo_folder(folder) as zoo:
        report(
            f"An epoch of {team}: cached features, and the same frozen backbone run again",
            lambda _round: an_epoch(zoo, team),
            rounds,
            [Bar(figure="cached over running the backbone", least=20)],
        )
        report(
            f"Fine-tuning {team} from its texts: ours, and transformers.Trainer with a frozen body",
            lambda number: a_whole(zoo, team, epochs, number),
            rounds,
            [
                Bar(figure="ours over the Trainer", least=5),
                Bar(figure="least difference (95 %)", most=0),
                Bar(figure="most difference (95 %)", least=0),
            ],
        )


def an_epoch(folder: Path, team: str) -> Figures:
    """Time training on the train split and judging the valid split. The backbone has every core, the head has one."""
    with Zoo.open(folder) as zoo:
        bench, ingredients = prepared(zoo, team, epochs=EPOCHS_TIMED, patience=EPOCHS_TIMED)
        splits = ingredients.labels.for_training()
        rows = [bench.rows(examples) for examples in (splits.train, splits.valid)]
        features = [bench.features(each) for each in rows]
        timed = _Epochs()
        head, _, _ = train_head(
            bench.network,
            lambda network: (
                encode(network, splits.train, rows[0], features[0]),
                encode(network, splits.valid, rows[1], features[1]),
            ),
            ingredients.recipe,
            observers=[timed],
        )
        train = encode(head, splits.train, rows[0], features[0])
        stages = bench.prefix.to_cpu()
        loss = make_loss(head.task, ingredients.recipe, train.targets)
        optimizer = torch.optim.AdamW(head.parameters(), lr=ingredients.recipe.learning_rate)

        def logits(split: Sequence[int], which: int) -> torch.Tensor:
            batch = collate([rows[which][index] for index in split], bench.preprocessor)
            with torch.no_grad():
                known = run_path(stages, {name: torch.from_numpy(array) for name, array in batch.items()})
                reduced = head.reduce(*(known[spec.name] for spec in head.inputs))
            return head.logits(*reduced)

        started = time.monotonic()
        head.train()
        for batch in _by_length([row.length for row in rows[0]], ingredients.recipe.batch_size):
            optimizer.zero_grad()
            value = loss(logits(batch, 0), torch.stack([train.targets[index] for index in batch]))
            value.backward()  # type: ignore[no-untyped-call] # torch leaves it untyped
            optimizer.step()
        head.eval()
        for batch in _by_length([row.length for row in rows[1]], ingredients.recipe.batch_size):
            logits(batch, 1)
        running = time.monotonic() - started
    cached = float(np.median(timed.seconds[1:]))
    return {
        "cached features, ms": 1000 * cached,
        "running the backbone, ms": 1000 * running,
        "cached over running the backbone": running / cached,
    }


def a_whole(folder: Path, team: str, epochs: int, seed: int) -> Figures:
    """Fine-tune with both libraries, each in a process of its own, and compare what they answer on the valid split."""
    package = load_package(team)
    count = epochs or package.recipe().epochs
    order = {"zoo": str(folder), "team": team, "recipe": {"epochs": count, "patience": count, "seed": seed}}
    ours, theirs = (child("benchmarks.finetune.whole", {**order, "library": each}) for each in ("ours", "transformers"))
    task, metric = package.head.task, package.head.task.metrics[0]
    wanted = [example.target for example in package.labels().for_training().valid]

    def score(found: Sequence[str], chosen: NDArray[np.int64]) -> float:
        return measure(task, [wanted[index] for index in chosen], [found[index] for index in chosen])[metric]

    every = np.arange(len(wanted))
    sure = bootstrap(
        lambda chosen: score(ours["found"], chosen) - score(theirs["found"], chosen), len(wanted), resamples=RESAMPLES
    )
    return {
        "ours, s": ours["seconds"],
        "the Trainer, s": theirs["seconds"],
        "ours over the Trainer": theirs["seconds"] / ours["seconds"],
        f"ours, {metric} on valid": score(ours["found"], every),
        f"the Trainer, {metric} on valid": score(theirs["found"], every),
        "least difference (95 %)": sure.low,
        "most difference (95 %)": sure.high,
    }


def _by_length(lengths: Sequence[int], size: int) -> list[list[int]]:
    order = sorted(range(len(lengths)), key=lambda index: lengths[index])
    return [order[start : start + size] for start in range(0, len(order), size)]
