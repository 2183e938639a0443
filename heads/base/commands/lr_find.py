"""``zoo head lr-find``: look for the learning rate of a head, and draw what was seen."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from heads.base.building.ingredients import Ingredients, gather
from heads.base.building.phases import Phases
from heads.base.commands.bar import shown_phases
from heads.base.packages import load_package
from zoo import Zoo
from zoo.console import DomainFailure, json_option, open_zoo, print_json, print_table, settings_of, zoo_option

if TYPE_CHECKING:  # it brings torch
    from heads.base.training.finder import RangeTest

__all__ = ["lr_find"]

_RATE = click.FloatRange(min=0, min_open=True)


@click.command("lr-find")
@click.argument("team")
@click.option("--lowest", default=1e-6, show_default=True, type=_RATE, help="The learning rate to begin with.")
@click.option("--highest", default=10.0, show_default=True, type=_RATE, help="The learning rate to end with.")
@click.option("--steps", default=100, show_default=True, type=click.IntRange(min=20), help="Steps between the two.")
@click.option(
    "--plot",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where the plot goes, an SVG file.  [default: lr-find.svg beside the head's runs in the zoo]",
)
@zoo_option
@json_option
@click.pass_context
def lr_find(
    context: click.Context,
    *,
    team: str,
    lowest: float,
    highest: float,
    steps: int,
    plot: Path | None,
    as_json: bool,
) -> None:
    """Suggest a learning rate for TEAM's head: train with one that rises, and see where the loss falls.

    Only the train split is looked at, and nothing is published.

    Example: zoo head lr-find intent --plot intent.svg
    """
    if lowest >= highest:
        raise click.UsageError(f"--lowest is {lowest:g} and --highest {highest:g}; it has to be the other way round.")
    package = load_package(team)
    name = package.head.name
    with open_zoo(context) as zoo, shown_phases(f"lr-find {team}", hidden=as_json) as phases:
        with phases.phase("check"):
            ingredients = gather(zoo, package)
        found = _find(zoo, ingredients, phases, lowest=lowest, highest=highest, steps=steps)
        place = plot or Path(settings_of(context).zoo) / "runs" / name / "lr-find.svg"
        _draw(found, place, title=name, current=ingredients.recipe.learning_rate)
    values = {
        "valley": found.suggestion.valley,
        "steepest": found.suggestion.steepest,
        "recipe.toml": ingredients.recipe.learning_rate,
    }
    if as_json:
        curve = {"rates": found.rates, "losses": found.losses}
        print_json({"head": name, "learning_rates": values, **curve, "plot": str(place)})
        return
    print_table(("suggestion", "learning_rate"), [(what, f"{rate:.1e}") for what, rate in values.items()])
    click.echo(f"plot: {place}. Try `learning_rate = {found.suggestion.valley:.1e}` in recipe.toml.")


def _find(
    zoo: Zoo, ingredients: Ingredients, phases: Phases, *, lowest: float, highest: float, steps: int
) -> "RangeTest":
    with phases.phase("load torch"):
        from heads.base.building.bench import Bench
        from heads.base.training import encode
        from heads.base.training.finder import find_learning_rate
    with phases.phase("prepare"):
        bench = Bench(zoo, ingredients, phases)
    splits = ingredients.labels.for_training()
    prepared = []
    for examples in (splits.train, splits.valid):
        rows = bench.rows(examples)
        prepared.append((examples, rows, bench.features(rows)))
    with phases.phase("range test"):
        return find_learning_rate(
            bench.network,
            lambda network: (encode(network, *prepared[0]), encode(network, *prepared[1])),
            ingredients.recipe,
            lowest=lowest,
            highest=highest,
            steps=steps,
            on_step=phases.at,
        )


def _draw(found: "RangeTest", place: Path, *, title: str, current: float) -> None:
    from heads.base.training.finder_plot import range_test_svg

    picture = range_test_svg(found, title=title, current=current)
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(picture)
    except OSError as error:
        raise DomainFailure(
            f"The plot {place} cannot be written: {error.strerror}. Choose another with --plot."
        ) from error
