"""``zoo serve``: the server on the command line. Whatever is heavy is imported when it is needed."""

import json
import logging
import os
import time
from contextlib import contextmanager
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from serving.memory import settle_memory
from serving.plan_text import plan_as_json, tree_lines, version_rows
from zoo.console import json_option, open_zoo, print_json, print_table, progress, settings_of, zoo_option

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from serving.board import Recorder
    from serving.handlers.access import LogStyle
    from serving.plan import LoadedPlan, Plan
    from serving.precision import Asked
    from serving.runtimes import Lanes
    from serving.server import Server

__all__ = ["serve"]

STDERR = 2


@click.command()
@zoo_option
@click.option("--address", default="", metavar="HOST:PORT", help="Where to listen; port 0 takes a free one.")
@click.option(
    "--runtime",
    "runtime_name",
    type=click.Choice(["onnx", "torchscript"]),
    default="onnx",
    show_default=True,
    help="What runs the stages.",
)
@click.option(
    "--device",
    default="auto",
    show_default=True,
    metavar="auto|cpu|cuda:0",
    help="Where they run; auto is CUDA if the machine has it.",
)
@click.option("--head", "heads", multiple=True, metavar="HEAD", help="Serve this head alone; may be repeated.")
@click.option("--alias", "aliases", multiple=True, metavar="ALIAS", help="Serve this alias alone; may be repeated.")
@click.option(
    "--max-rows", type=click.IntRange(min=1), default=64, show_default=True, help="Rows in the largest batch."
)
@click.option(
    "--max-waiting-rows",
    type=click.IntRange(min=1),
    default=1024,
    show_default=True,
    help="Rows that wait before new ones are refused.",
)
@click.option(
    "--team-weight",
    "team_weights",
    multiple=True,
    callback=lambda _context, _option, values: _weights(values),
    metavar="TEAM=WEIGHT",
    help="A team's share of the device beside the others', who have 1 each, for example support=2; may be repeated.",
)
@click.option(
    "--max-slowdown",
    type=click.FloatRange(min=1, min_open=True),
    default=2.0,
    show_default=True,
    metavar="FACTOR",
    help="How many times longer a team that asks little may wait because of the others; more gives larger batches.",
)
@click.option(
    "--cache-mb",
    type=click.IntRange(min=0),
    default=256,
    show_default=True,
    metavar="MB",
    help="Memory for what stages gave before, so that an input that comes again costs its heads alone, "
    "for example 1024; 0 keeps nothing.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=1),
    default=lambda: _cores(),
    show_default="one a core",
    metavar="N",
    help="Threads that compute one stage together on the CPU, for example 2.",
)
@click.option(
    "--lanes",
    callback=lambda _context, _option, value: _lanes(value),
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="Batches that run side by side, for example 2; auto is one a core up to 4, and 1 on a GPU.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "int8", "fp16"]),
    default="auto",
    show_default=True,
    help="What stages compute in, where a version has it published; auto takes what suits the device.",
)
@click.option(
    "--sharing/--no-sharing",
    "share",
    default=True,
    show_default=True,
    help="Let heads share stages and batches; without, each runs a model of its own, to compare with.",
)
@click.option("--watch/--no-watch", default=True, show_default=True, help="Pick up promotions while serving.")
@click.option(
    "--watch-s",
    type=click.FloatRange(min=0.01),
    default=0.5,
    show_default=True,
    metavar="SECONDS",
    help="How often to look for promotions.",
)
@click.option(
    "--front-ends",
    callback=lambda _context, _option, value: _front_ends(value),
    default="auto",
    show_default=True,
    metavar="auto|N",
    help="How many processes talk to callers and prepare their inputs, beside the one that runs the stages, for "
    "example 4; with 0 it does that too. auto is 0 below 8 cores, then one for each 4.",
)
@click.option(
    "--record-trace",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    default=None,
    metavar="FILE",
    help="Write down what is queued and what it costs, for example trace.jsonl, to replay it with other limits.",
)
@click.option(
    "--access-log",
    type=click.Choice(["text", "json", "off"]),
    default="text",
    show_default=True,
    help="How the log line of each request is written; json has the whole digests.",
)
@click.option("--no-access-log", is_flag=True, help="The same as --access-log off.")
@click.option(
    "--metrics-address",
    default="",
    metavar="HOST:PORT",
    help="Where Prometheus reads metrics, for example localhost:8702; port 0 takes a free one. Nowhere by default.",
)
@click.option(
    "--trace-endpoint",
    default="",
    envvar=["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"],
    metavar="URL",
    help="An OpenTelemetry collector that takes OTLP over gRPC, for example http://localhost:4317. None by default.",
)
@click.option("--print-plan", is_flag=True, help="Load, print what would be served, and exit.")
@json_option
@click.pass_context
def serve(
    context: click.Context,
    *,
    address: str,
    runtime_name: str,
    device: str,
    heads: tuple[str, ...],
    aliases: tuple[str, ...],
    max_rows: int,
    max_waiting_rows: int,
    team_weights: "dict[str, float]",
    max_slowdown: float,
    cache_mb: int,
    threads: int,
    lanes: "Lanes",
    precision: str,
    share: bool,
    watch: bool,
    watch_s: float,
    front_ends: int,
    record_trace: Path | None,
    access_log: str,
    no_access_log: bool,
    metrics_address: str,
    trace_endpoint: str,
    print_plan: bool,
    as_json: bool,
) -> None:
    """Answer over gRPC for every version that is live in the zoo, until Ctrl-C.

    Without --address it listens on the `server` setting. With --json it prints one line when it answers: its
    address, and what it serves.

    Example: zoo serve --address localhost:8701 --device cpu
    """
    from serving.batching import Limits
    from serving.frontends import FrontEndSettings
    from serving.handlers.access import ACCESS_LOGGER
    from serving.loader import load_plan
    from serving.logs import BackgroundLog, LineFormatter, write_to
    from serving.loops import run
    from serving.runtimes import open_runtime
    from serving.server import Server, ServerLimits

    write = write_to(STDERR)
    if front_ends:
        from serving.frontends.turns import in_turn  # which not every system can import

        write = in_turn(STDERR, write)
    log_style = cast("LogStyle", "off" if no_access_log else access_log)
    log = BackgroundLog(write)
    log.setFormatter(LineFormatter([ACCESS_LOGGER] if log_style == "json" else ()))
    logging.basicConfig(level=logging.INFO, handlers=[log])
    if trace_endpoint:
        from serving.telemetry.spans import check_installed  # which loads OpenTelemetry

        check_installed(trace_endpoint)
    runtime = open_runtime(runtime_name, device, threads=threads, lanes=lanes)
    with open_zoo(context) as zoo:
        load = partial(
            load_plan, zoo, runtime, heads=heads, aliases=aliases, share=share, precision=cast("Asked", precision)
        )
        if print_plan:
            _print_plan(load().plan, as_json=as_json)
            return
        settings = settings_of(context)
        make = partial(
            Server,
            zoo,
            runtime,
            address=address or settings.server,
            limits=ServerLimits(
                batching=Limits(
                    max_rows=max_rows,
                    max_waiting_rows=max_waiting_rows,
                    team_weights=team_weights,
                    max_slowdown=max_slowdown,
                ),
                cache_bytes=cache_mb << 20,
            ),
            share=share,
            watch=watch,
            watch_s=watch_s,
            front_ends=FrontEndSettings(
                count=front_ends,
                zoo=settings.zoo,
                database_url=settings.database_url,
                blobs_url=settings.blobs_url,
                access_log=log_style,
                trace_endpoint=trace_endpoint,
            ),
            metrics_address=metrics_address,
        )
        with _recorder(record_trace) as recorder:
            run(_run(partial(make, recorder=recorder), load, as_json=as_json))


@contextmanager
def _recorder(path: Path | None) -> "Iterator[Recorder | None]":
    """Open what writes a trace, if one is to be written."""
    if path is None:
        yield None
        return
    from serving.simulation.trace import TraceWriter

    writer = TraceWriter(path)
    try:
        yield writer
    finally:
        writer.close()


def _weights(values: "Sequence[str]") -> "dict[str, float]":
    """Read ``--team-weight``."""
    weights = {}
    for value in values:
        team, _, weight = value.partition("=")
        try:
            weights[team] = float(weight)
        except ValueError:
            weights[team] = 0.0
        if not team or not 0 < weights[team] < inf:
            raise click.BadParameter(f"{value!r} is not TEAM=WEIGHT with a number above 0, such as support=2.")
    return weights


def _front_ends(value: str) -> int:
    """Read ``--front-ends``."""
    from serving.frontends.settings import automatic_count
    from serving.runtimes import usable_cores

    is_possible = hasattr(os, "memfd_create")
    if value == "auto":
        return automatic_count(usable_cores()) if is_possible else 0
    if not value.isascii() or not value.isdecimal():
        raise click.BadParameter(f"{value!r} is neither 'auto' nor a number of processes, for example 4.")
    if int(value) and not is_possible:
        raise click.BadParameter("front ends share memory as only Linux can; leave it at 0 here.")
    return int(value)


def _cores() -> int:
    """Return how many cores this process may use."""
    from serving.runtimes import usable_cores

    return usable_cores()


def _lanes(value: str) -> "Lanes":
    """Read ``--lanes``."""
    if value == "auto":
        return "auto"
    if not value.isascii() or not value.isdecimal() or not int(value):
        raise click.BadParameter(f"{value!r} is neither 'auto' nor a number of lanes, for example 2.")
    return int(value)


async def _run(make: "Callable[..., Server]", load: "Callable[..., LoadedPlan]", *, as_json: bool) -> None:
    began_s = time.monotonic()
    with progress("Loading stages", hidden=as_json) as tell:
        told = partial(load, progress=lambda _, done, total: tell(done, total))
        server = make(load=lambda *, before, broken: (load if before else told)(before=before, broken=broken))
        await server.start()
    settle_memory()
    load_s = time.monotonic() - began_s
    await server.run_until_signalled(lambda: _tell(server, load_s, as_json=as_json))


def _tell(server: "Server", load_s: float, *, as_json: bool) -> None:
    """Say what is served, and where."""
    if as_json:
        started = {"address": server.address, "metrics_address": server.metrics_address, "load_s": round(load_s, 3)}
        click.echo(json.dumps({**started, **plan_as_json(server.engine.plan)}))
        return
    _print_plan(server.engine.plan, as_json=False)
    if server.metrics_address:
        click.echo(f"Metrics on http://{server.metrics_address}/metrics")
    click.echo(f"Listening on {server.address}; loaded in {load_s:.1f} s. Ctrl-C stops.")


def _print_plan(plan: "Plan", *, as_json: bool) -> None:
    if as_json:
        print_json(plan_as_json(plan))
        return
    print_table(("version", "aliases", "digest", "stages"), version_rows(plan))
    click.echo()
    for line in tree_lines(plan):
        click.echo(line)
    click.echo()
