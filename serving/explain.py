"""``zoo explain-policy``: replays recorded traffic in virtual time, and says why each batch left."""

from collections import Counter
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo.console import json_option, print_json, print_table

if TYPE_CHECKING:
    from serving.simulation.outcome import BatchRecord, Outcome

__all__ = ["explain_policy"]

COLUMNS = ("at ms", "lane", "rows", "of", "width", "padding", "predicted ms", "took ms", "built for", "up to", "teams")


@click.command("explain-policy")
@click.argument("trace", type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path))
@click.option("--lanes", type=click.IntRange(min=1), default=1, show_default=True, help="Batches side by side.")
@click.option("--fixed-us", type=click.FloatRange(min=0), default=1200.0, show_default=True, help="A run of a node.")
@click.option("--per-token-us", type=click.FloatRange(min=0), default=155.0, show_default=True, help="A token of it.")
@click.option(
    "--noise", type=click.FloatRange(min=0, max=1), default=0.0, show_default=True, help="Spread of run times."
)
@click.option("--max-rows", type=click.IntRange(min=1), default=64, show_default=True, help="Rows of a batch.")
@click.option(
    "--max-slowdown",
    type=click.FloatRange(min=1, min_open=True),
    default=2.0,
    show_default=True,
    help="What a flood may do to those who ask for little.",
)
@click.option("--weight", "weights", multiple=True, metavar="TEAM=WEIGHT", help="A team's share; may be repeated.")
@click.option("--summary", is_flag=True, help="Leave out the batches.")
@json_option
def explain_policy(
    *,
    trace: Path,
    lanes: int,
    fixed_us: float,
    per_token_us: float,
    noise: float,
    max_rows: int,
    max_slowdown: float,
    weights: tuple[str, ...],
    summary: bool,
    as_json: bool,
) -> None:
    """Replay the recorded requests of TRACE in virtual time, and print why each batch left.

    TRACE has a JSON object on each line, as `zoo serve --record-trace` writes them; - reads standard input. What a
    node costs is taken from TRACE, or else from --fixed-us and --per-token-us.

    Example: zoo explain-policy trace.jsonl --lanes 2
    """
    from serving.batching import Limits
    from serving.simulation import Truth, read_trace, simulate
    from serving.simulation.truth import NodeCost

    limits = Limits(max_rows=max_rows, max_slowdown=max_slowdown, team_weights=dict(map(_weight, weights)))
    with click.open_file(str(trace), encoding="utf-8") as file:
        recorded = read_trace(file)
    default = NodeCost(fixed_us * 1e-6, per_token_us * 1e-6)
    truth = Truth(default=default, nodes=recorded.costs, noise=noise)
    until_s = max((ask.at_s for ask in recorded.asks), default=0.0)
    outcome = simulate(recorded.asks, truth, limits, until_s=until_s, lanes=lanes)
    batches = [] if summary else sorted(outcome.batches, key=lambda batch: batch.began_s)
    if as_json:
        print_json({"batches": list(map(_batch_json, batches)), "summary": _summary_json(outcome)})
        return
    if batches:
        print_table(COLUMNS, map(_batch_row, batches))
        click.echo()
    _print_summary(outcome)


def _weight(text: str) -> tuple[str, float]:
    team, _, weight = text.rpartition("=")
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not team or not 0 < value < float("inf"):
        raise click.BadParameter(f"expected TEAM=WEIGHT with a weight above 0, as in cs=2; got {text!r}")
    return team, value


def _batch_row(batch: "BatchRecord") -> tuple[object, ...]:
    return (
        f"{batch.began_s * 1000:.1f}",
        batch.lane,
        batch.rows,
        batch.waiting,
        batch.width,
        f"{batch.padding:.0%}",
        f"{batch.predicted_s * 1000:.1f}",
        f"{batch.took_s * 1000:.1f}",
        batch.reason.value,
        batch.stop.value,
        " ".join(f"{team}:{rows}" for team, rows in sorted(batch.teams.items())),
    )


def _batch_json(batch: "BatchRecord") -> dict[str, Any]:
    return {
        "began_s": batch.began_s,
        "lane": batch.lane,
        "rows": batch.rows,
        "teams": dict(batch.teams),
        "width": batch.width,
        "padding": batch.padding,
        "predicted_s": batch.predicted_s,
        "took_s": batch.took_s,
        "waiting": batch.waiting,
        "expired": batch.expired,
        "reason": batch.reason.value,
        "stop": batch.stop.value,
    }


def _summary_json(outcome: "Outcome") -> dict[str, Any]:
    return {
        "batches": len(outcome.batches),
        "padding": outcome.padding(),
        "reasons": Counter(f"{batch.reason}, {batch.stop}" for batch in outcome.batches),
        "teams": {
            team: {
                "p50_s": _or_none(outcome.latency_s(team, 0.5)),
                "p99_s": _or_none(outcome.latency_s(team, 0.99)),
                **{fate.value: count for fate, count in outcome.fates(team).items()},
            }
            for team in sorted({request.ask.team for request in outcome.requests})
        },
    }


def _or_none(seconds: float) -> float | None:
    return None if isnan(seconds) else seconds


def _print_summary(outcome: "Outcome") -> None:
    found = _summary_json(outcome)
    click.echo(f"{found['batches']} batches, {found['padding']:.1%} of the tokens padding.")
    for why, count in found["reasons"].most_common():
        click.echo(f"  {count:6} {why}")
    click.echo()
    rows = []
    for team, values in found["teams"].items():
        p50_s, p99_s = values.pop("p50_s"), values.pop("p99_s")
        rows.append((team, _ms(p50_s), _ms(p99_s), ", ".join(f"{count} {fate}" for fate, count in values.items())))
    print_table(("team", "p50 ms", "p99 ms", "requests"), rows)


def _ms(seconds: float | None) -> str:
    return "none" if seconds is None else f"{seconds * 1000:.1f}"
