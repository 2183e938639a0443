"""A search of 200 trials: the command as a team runs it, from its start to the printed diff."""

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks.finetune.bench import Bar, Figures, folder_option, report, rounds_option, zoo_folder

__all__ = ["search_main"]


@click.command()
@click.option("--team", default="intent", show_default=True, help="Whose recipe is searched.")
@click.option("--trials", default=200, show_default=True, help="Recipes to try.")
@rounds_option
@folder_option
def search_main(team: str, trials: int, rounds: int, folder: Path | None) -> None:
    """Search the recipe of a frozen head, features included; each round with another seed.

    Example: python -m benchmarks.finetune search --rounds 3
    """
    with zoo_folder(folder) as zoo:
        report(
            f"zoo head search {team} --trials {trials}",
            lambda number: a_search(zoo, team, trials, number),
            rounds,
            [Bar(figure="seconds", most=120)],
        )


def a_search(zoo: Path, team: str, trials: int, seed: int) -> Figures:
    """Time one search that has nothing to go on from."""
    shutil.rmtree(zoo / "runs", ignore_errors=True)
    for file in zoo.glob("features.sqlite*"):
        file.unlink()
    command = [Path(sys.executable).with_name("zoo"), "head", "search", team, "--zoo", zoo, "--json"]
    started = time.monotonic()
    done = subprocess.run(
        [*map(str, command), "--trials", str(trials), "--seed", str(seed)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    seconds = time.monotonic() - started
    found = json.loads(done.stdout)
    return {
        "seconds": seconds,
        "trials a minute": 60 * trials / seconds,
        "given up early": found["pruned"],
        "today's recipe, mean of the seeds": found["today"],
        "the best recipe, mean of the seeds": found["score"],
    }
