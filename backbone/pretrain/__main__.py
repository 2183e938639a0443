"""``python -m backbone.pretrain`` makes the backbone ``glyphs`` anew."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from backbone.pretrain.budget import Budget, ClockBudget, StepBudget
from backbone.pretrain.collection import Collection, collect
from backbone.pretrain.evaluation import evaluate
from backbone.pretrain.network import Pretrained
from backbone.pretrain.saving import save_trunk
from backbone.pretrain.training import Settings, Step, pretrain

_STEPS_A_LINE = 100
_WEIGHTS = Path(__file__).resolve().parents[1] / "weights"


@click.command()
@click.option("--steps", type=click.IntRange(1), help="So many steps: the same seed gives the same weights.")
@click.option(
    "--minutes", type=click.FloatRange(0, min_open=True), help="So long instead, on a machine that is shared."
)
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--batch-size", default=128, show_default=True, type=click.IntRange(2))
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1), help="CPU threads of torch.")
@click.option(
    "--out", default=_WEIGHTS, show_default="backbone/weights", type=click.Path(path_type=Path, file_okay=False)
)
def main(*, steps: int | None, minutes: float | None, seed: int, batch_size: int, threads: int, out: Path) -> None:
    """Pre-train the backbone on rendered glyphs, measure it on unseen faces and scripts, and write its weights.

    Example: python -m backbone.pretrain --minutes 30 --out /tmp/weights
    """
    if (steps is None) == (minutes is None):
        raise click.UsageError("Give either --steps or --minutes, for example --steps 8000.")
    torch.set_num_threads(threads)
    settings = Settings(seed=seed, batch_size=batch_size)
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as bar:
        collection = _collected(bar)
        started, computing = time.monotonic(), time.process_time()
        network, made = _trained(bar, collection, settings, _budget(steps, minutes, started))
    seconds = time.monotonic() - started
    report = {
        "data": "rendered letters and digits of the DejaVu faces (synthetic)",
        "glyphs": len(collection.masks),
        "trained_on": len(collection.for_training()),
        "names": collection.class_count,
        "steps": made,
        "batch_size": batch_size,
        "seed": seed,
        "threads": threads,
        "seconds": round(seconds),
        "processor_seconds": round(time.process_time() - computing),
        "accuracy": _rounded(evaluate(network, collection, seed=seed)),
    }
    save_trunk(network, out, report)
    click.echo(json.dumps(report, indent=2))


def _budget(steps: int | None, minutes: float | None, started: float) -> Budget:
    if steps is not None:
        return StepBudget(steps=steps)
    assert minutes is not None
    return ClockBudget(seconds=60 * minutes, clock=time.monotonic, started=started)


def _collected(bar: Progress) -> Collection:
    task = bar.add_task("render glyphs", total=None)
    collection = collect(on_face=lambda done, total: bar.update(task, completed=done, total=total))
    bar.remove_task(task)
    return collection


def _trained(bar: Progress, collection: Collection, settings: Settings, budget: Budget) -> tuple[Pretrained, int]:
    task = bar.add_task("pre-train", total=1.0)
    smooth = 0.0

    def tell(step: Step) -> None:
        nonlocal smooth
        smooth = step.loss if step.number == 1 else 0.98 * smooth + 0.02 * step.loss
        said = f"pre-train: step {step.number}, loss {smooth:.2f}"
        bar.update(task, completed=step.used, description=said)
        if step.number % _STEPS_A_LINE == 0 and not bar.console.is_terminal:
            bar.console.print(f"{said}, {step.used:.0%}")  # a log shows no bar

    return pretrain(collection, settings, budget, on_step=tell)


def _rounded(found: dict[str, dict[str, float]]) -> dict[str, Any]:
    return {kind: {name: round(value, 4) for name, value in values.items()} for kind, values in found.items()}


if __name__ == "__main__":
    main()
