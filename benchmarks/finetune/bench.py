"""What the claims about fine-tuning share: a zoo with MiniLM, rounds, and a table of medians beside their bars."""

import statistics
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.serving.bench import Bar, Figures
from heads.base.backbones import add_backbone
from heads.base.building.bench import Bench
from heads.base.building.fingerprint import backbone_key
from heads.base.building.ingredients import Ingredients, gather
from heads.base.building.phases import Phases
from heads.base.packages import load_package
from zoo import Zoo
from zoo.errors import NotFound

__all__ = ["Bar", "Figures", "folder_option", "prepared", "report", "rounds_option", "zoo_folder"]

rounds_option = click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
folder_option = click.option("--folder", type=click.Path(path_type=Path), help="Keep the zoo here, for the next time.")


@contextmanager
def zoo_folder(kept: Path | None) -> Iterator[Path]:
    """Give the folder of a zoo with MiniLM; a temporary one unless it is to be kept."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = (kept or Path(scratch)) / "zoo"
        with Zoo.open(folder, create=True) as zoo:
            try:
                zoo.backbone("minilm")
            except NotFound:
                add_backbone(zoo, "minilm", split=(), name="minilm", key=backbone_key("minilm", (), "minilm"))
        yield folder


def prepared(zoo: Zoo, team: str, **recipe: object) -> tuple[Bench, Ingredients]:
    """Return the bench and the ingredients of a team's head, with some keys of its recipe set."""
    gathered = gather(zoo, load_package(team))
    changed = replace(gathered, recipe=gathered.recipe.model_copy(update=recipe))
    return Bench(zoo, changed, Phases()), changed


def report(title: str, measure: Callable[[int], Figures], rounds: int, bars: Sequence[Bar] = ()) -> Mapping[str, float]:
    """Measure rounds, given their numbers, and print each figure's median and range, and what it has to reach."""
    console = Console(highlight=False, width=120)
    found = [measure(number) for number in range(rounds)]
    by_figure = {bar.figure: bar for bar in bars}
    table = Table("figure", "median", "range", "bar", "reached", title=title, title_justify="left")
    medians = {figure: statistics.median(each[figure] for each in found) for figure in found[0]}
    for figure, median in medians.items():
        values = [each[figure] for each in found]
        spread = f"{min(values):.4g} to {max(values):.4g}" if len(values) > 1 else ""
        bar = by_figure.get(figure)
        verdict = ("yes" if bar.holds(median) else "no") if bar else ""
        table.add_row(figure, f"{median:.4g}", spread, str(bar or ""), verdict)
    console.print(table)
    return medians
