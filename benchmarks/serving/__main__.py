"""``python -m benchmarks.serving [CLAIM]...``: measure what the engine must show."""

import os
import platform
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import click
import onnxruntime
from rich.console import Console
from rich.table import Table

from benchmarks.serving.bench import Bench, Claim, Figures
from benchmarks.serving.pressure import CANCELLED, OVERLOADED, REPEATED
from benchmarks.serving.saturation import SATURATED
from benchmarks.serving.sharing import FAN_OUT, MANY, MIXED
from benchmarks.serving.swaps import SWAPPED

console = Console(highlight=False, width=120)

CLAIMS = {claim.name: claim for claim in (FAN_OUT, MIXED, SATURATED, REPEATED, MANY, OVERLOADED, SWAPPED, CANCELLED)}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CLAIMS)))
@click.option("--body", "bodies", multiple=True, type=click.Choice(["minilm", "vit"]), help="On this backbone alone.")
@click.option("--rounds", default=3, show_default=True, help="How often everything is measured.")
@click.option("--seconds", default=4.0, show_default=True, help="How long each figure is measured, each round.")
@click.option("--device", default="cpu", show_default=True, help="Where the stages run, here and in the raw engine.")
@click.option("--folder", type=click.Path(path_type=Path), help="Keep the zoos here, for the next time.")
def main(
    names: Sequence[str], bodies: Sequence[str], rounds: int, seconds: float, device: str, folder: Path | None
) -> None:
    """Measure the claims named, or all. Leave the machine alone meanwhile.

    Example: python -m benchmarks.serving mixed --body minilm --rounds 5
    """
    console.print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"onnxruntime {onnxruntime.__version__} on {device}; {rounds} rounds, {seconds:g} s a figure, medians"
    )
    with tempfile.TemporaryDirectory() as scratch:
        for name in names or CLAIMS:
            claim = CLAIMS[name]
            for body in claim.bodies:
                if bodies and body not in bodies:
                    continue
                kept = folder or Path(scratch)
                kept.mkdir(parents=True, exist_ok=True)
                bench = Bench(folder=kept, body=body, device=device, seconds=seconds)
                report(claim, body, [claim.measure(bench) for _ in range(claim.rounds or rounds)])


def report(claim: Claim, body: str, rounds: Sequence[Figures]) -> None:
    """Print each figure's median and range, and what it has to reach."""
    table = Table("figure", "median", "range", "bar", "reached", title=f"{claim.title} ({body})", title_justify="left")
    bars = {bar.figure: bar for bar in claim.bars}
    for figure in rounds[0]:
        values = [found[figure] for found in rounds]
        median = statistics.median(values)
        spread = f"{min(values):.4g} to {max(values):.4g}" if len(values) > 1 else ""
        bar = bars.get(figure)
        verdict = ("yes" if bar.holds(median) else "no") if bar else ""
        table.add_row(figure, f"{median:.4g}", spread, str(bar or ""), verdict)
    console.print(table)


if __name__ == "__main__":
    main()
