"""Averaged weights against none: SWA and EMA, measured on training examples that were held out.

The valid split chooses the epoch where nothing is averaged, so it flatters that; and the test split is not for choosing
methods. So each seed holds a fifth of the training split out, another one each time, and measures there.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.finetune.bench import Figures, folder_option, prepared, zoo_folder
from heads.base.tasks.metrics import measure
from heads.base.tasks.targets import answer_of
from heads.base.training import answers_of, encode, outputs_of, train_head
from zoo import Zoo
from zoo.labels import Example

__all__ = ["averaging_main"]

SEEDS = 5
WAYS: Mapping[str, Mapping[str, float]] = {"none": {}, "swa": {"swa": 0.25}, "ema": {"ema": 0.98}}
T95_OF_FIVE = 2.776
"""Student's t for a 95 % interval of the mean of five differences."""


@click.command()
@click.option("--team", "teams", multiple=True, default=("intent", "topics"), show_default=True)
@click.option("--epochs", default=0, help="0 for the recipe's.")
@folder_option
def averaging_main(teams: Sequence[str], epochs: int, folder: Path | None) -> None:
    """SWA (the last quarter of the epochs) and EMA (0.98) against none, five seeds.

    Example: python -m benchmarks.finetune averaging
    """
    with zoo_folder(folder) as path, Zoo.open(path) as zoo:
        for team in teams:
            found = {way: [held_out(zoo, team, way, epochs, seed) for seed in range(SEEDS)] for way in WAYS}
            print_means(team, found)


def held_out(zoo: Zoo, team: str, way: str, epochs: int, seed: int) -> Figures:
    """Train on four fifths of the training split, choose on the valid split, and measure on the last fifth."""
    changes = {"epochs": epochs, "patience": epochs} if epochs else {}
    bench, ingredients = prepared(zoo, team, seed=seed, **changes, **WAYS[way])
    splits = ingredients.labels.for_training()
    parts = {
        "train": [example for place, example in enumerate(splits.train) if place % SEEDS != seed],
        "valid": list(splits.valid),
        "held": [example for place, example in enumerate(splits.train) if place % SEEDS == seed],
    }

    def given(part: Sequence[Example]) -> tuple[Sequence[Example], list, list]:  # type: ignore[type-arg]
        rows = bench.rows(part)
        return part, rows, bench.features(rows)

    network, _, _ = train_head(
        bench.network,
        lambda head: (encode(head, *given(parts["train"])), encode(head, *given(parts["valid"]))),
        ingredients.recipe,
    )
    held = encode(network, *given(parts["held"]))
    values = measure(
        network.task, held.wanted, answers_of(answer_of(network.task), outputs_of(network, held), held.rows)
    )
    metric = network.task.metrics[0]
    return {metric: values[metric]}


def print_means(team: str, found: Mapping[str, Sequence[Figures]]) -> None:
    """Print each way's mean, and the mean of its differences from none with a 95 % interval."""
    metric = next(iter(found["none"][0]))
    table = Table("way", metric, "difference from none", "95 %", title=f"{team}, {SEEDS} seeds", title_justify="left")
    for way, figures in found.items():
        differences = [each[metric] - none[metric] for each, none in zip(figures, found["none"], strict=True)]
        half = T95_OF_FIVE * statistics.stdev(differences) / math.sqrt(SEEDS)
        mean = statistics.mean(differences)
        interval = "" if way == "none" else f"{mean - half:+.4f} to {mean + half:+.4f}"
        table.add_row(way, f"{statistics.mean(each[metric] for each in figures):.4f}", f"{mean:+.4f}", interval)
    Console(highlight=False, width=120).print(table)


if __name__ == "__main__":
    averaging_main()
