"""``zoo head runs``: the trainings and searches of a head that are kept, and how far each came."""

from datetime import datetime
from typing import Any

import click

from heads.base.runs.folder import KEPT_RUNS, RunFolder, runs_of
from heads.base.runs.history import read_history
from zoo.console import json_option, print_json, print_table, settings_of, zoo_option

__all__ = ["runs"]


@click.command(
    help=f"""List the runs of HEAD, the newest first: when each began, its epochs, its best metric and its state.

    The newest {KEPT_RUNS} trainings and the newest {KEPT_RUNS} searches are kept; older ones go when a new one begins,
    but never one that is at work. A run that was killed is `stopped`: the same command goes on with it.

    Example: zoo head runs intent
    """
)
@click.argument("name", metavar="HEAD")
@zoo_option
@json_option
@click.pass_context
def runs(context: click.Context, name: str, as_json: bool) -> None:  # noqa: D103 - its help is above
    found = [_describe(run) for run in runs_of(settings_of(context).zoo, name)]
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo(f"no runs of {name}; `zoo head train {name}` makes one, if that is a head's name")
        return
    rows = [(each["run"], each["began_at"], each["epochs"], _best(each), each["state"]) for each in found]
    print_table(("run", "began", "epochs", "best on valid", "state"), rows)


def _describe(run: RunFolder) -> dict[str, Any]:
    record, history = run.record, read_history(run.history)
    best = history.best()
    return {
        "run": run.path.name,
        "kind": record.kind,
        "began_at": datetime.fromisoformat(record.began_at),
        "epochs": len(history.epochs),
        "best_epoch": best["epoch"] if best else 0,
        "metrics": best["metrics"] if best else {},
        "state": run.state,
        "message": record.message,
        "folder": str(run.path),
        "tensorboard": str(run.tensorboard),
    }


def _best(described: dict[str, Any]) -> str:
    if described["message"]:
        return str(described["message"])
    metric = next(iter(described["metrics"].items()), None)
    return f"{metric[0]} {metric[1]:.3f} (epoch {described['best_epoch']})" if metric else "-"
