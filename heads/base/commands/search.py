"""``zoo head search``: try recipes of a frozen head, and print the best as a diff of its ``recipe.toml``."""

import math
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from heads.base.building.ingredients import gather
from heads.base.building.phases import Phases
from heads.base.commands.bar import shown_phases
from heads.base.images import fill_images
from heads.base.packages import Package, load_package
from heads.base.runs.folder import RunFolder, prune_runs
from heads.base.search.recipe_file import difference, edited, write_recipe
from zoo.console import json_option, open_zoo, print_json, settings_of, zoo_option

if TYPE_CHECKING:  # it brings torch and optuna
    from heads.base.search.study import Found

__all__ = ["search"]


@click.command()
@click.argument("team")
@click.option("--trials", default=200, show_default=True, type=click.IntRange(min=1), help="Recipes to try, in all.")
@click.option(
    "--seconds", type=click.FloatRange(min=0, min_open=True), help="Begin no trial after so long.  [default: no limit]"
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of what is tried.")
@click.option("--write", is_flag=True, help="Write the best recipe to recipe.toml; comments and order stay.")
@zoo_option
@json_option
@click.pass_context
def search(
    context: click.Context,
    *,
    team: str,
    trials: int,
    seconds: float | None,
    seed: int,
    write: bool,
    as_json: bool,
) -> None:
    """Search the recipe of TEAM's frozen head on the valid split, and print the best as a diff of its recipe.toml.

    Ctrl-C ends it after the trial that runs. However it ended, the same command goes on from there.

    Example: zoo head search intent --trials 200 --write
    """
    package = load_package(team)
    with shown_phases(f"search {team}", hidden=as_json) as phases:
        found, valid = _search(context, package, phases, trials=trials, seconds=seconds or math.inf, seed=seed)
    path = package.folder / "recipe.toml"
    diff = _difference(path, found)
    written = write and bool(diff)
    if written:
        write_recipe(path, found.changes)
    if as_json:
        print_json(
            {"head": package.head.name, **asdict(found), "valid_examples": valid, "diff": diff, "written": written}
        )
        return
    click.echo(_summary(package, found, valid, trials, phases))
    click.echo(diff or "Today's recipe stands: nothing that was tried is better.")
    if diff:
        click.echo(f"written to {path}" if written else f"`zoo head search {team} --write` writes it.")


def _search(
    context: click.Context, package: Package, phases: Phases, *, trials: int, seconds: float, seed: int
) -> tuple["Found", int]:
    zoo_folder = settings_of(context).zoo
    with open_zoo(context) as zoo:
        with phases.phase("check"):
            ingredients = gather(zoo, package)
        with phases.phase("images"):
            fill_images(zoo, package, ingredients.labels, on_image=phases.at)
        with phases.phase("load torch"):
            from heads.base.search.heads import search_head, search_key
        run = RunFolder.open(zoo_folder, package.head.name, search_key(ingredients, seed=seed), kind="search")
        with run.at_work() as words, _ends_after_trial() as stopped:
            prune_runs(zoo_folder, package.head.name)
            found = search_head(
                zoo, ingredients, run, trials=trials, seconds=seconds, seed=seed, phases=phases, stopped=stopped
            )
            words.append(f"{package.head.task.metrics[0]} {found.score:.3f} in {found.trials} trials")
    return found, len(ingredients.labels.for_training().valid)


def _difference(path: Path, found: "Found") -> str:
    before = path.read_bytes().decode("utf-8") if path.exists() else ""
    return difference(before, edited(before, found.changes, where=str(path)), name="/".join(path.parts[-3:]))


def _summary(package: Package, found: "Found", valid: int, trials: int, phases: Phases) -> str:
    metric = package.head.task.metrics[0]
    seeds = f"mean of {found.seeds} seeds" if found.seeds > 1 else "one seed"
    told = (
        f"{package.head.name}: {metric} {found.today:.3f} → {found.score:.3f} on {valid} valid examples "
        f"({seeds}; {found.trials} trials, {found.pruned} given up early, {phases.seconds['search']:.0f} s)"
    )
    return told if found.complete else f"{told}\n{found.trials} of {trials} trials: the same command goes on."


@contextmanager
def _ends_after_trial() -> Iterator[Callable[[], bool]]:
    """Turn the first Ctrl-C into the answer of the function that is given; a second one ends at once."""
    pressed: list[int] = []

    def note(number: int, _frame: FrameType | None) -> Any:
        if pressed:
            raise KeyboardInterrupt
        pressed.append(number)
        click.echo("ends after this trial; Ctrl-C again ends at once", err=True)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)
