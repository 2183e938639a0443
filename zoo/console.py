"""What every ``zoo`` sub-command shares: the --zoo and --json options, tables, progress, and errors as one line."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from zoo.settings import Settings, load_settings
from zoo.zoo import Zoo

__all__ = [
    "DomainFailure",
    "bulletin",
    "domain_errors",
    "json_option",
    "moment",
    "open_zoo",
    "print_json",
    "print_table",
    "progress",
    "settings_of",
    "zoo_option",
]

_FLAGS = "hydrazoo.flags"
_CODE = re.compile(r"[a-z_]+(\.[a-z_]+)*")
_PIPE_WIDTH = 240  # a pipe has no width; rich would cut tables at 80


def _keep_flag(context: click.Context, option: click.Parameter, value: str | None) -> None:
    context.meta.setdefault(_FLAGS, {})[option.name] = value or ""


zoo_option = click.option(
    "--zoo", expose_value=False, callback=_keep_flag, metavar="FOLDER", help="The zoo's folder.  [default: .zoo]"
)
"""Adds ``--zoo``; what it says reaches ``open_zoo`` and ``settings_of`` through the context."""

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
"""Adds ``--json`` as the argument ``as_json``."""


def settings_of(context: click.Context) -> Settings:
    """Return the settings of this run, flags included."""
    return load_settings(context.meta.get(_FLAGS, {}))


def open_zoo(context: click.Context, *, create: bool = False) -> Zoo:
    """Open the zoo that the settings name, as a context manager; with ``create``, make it if there is none."""
    settings = settings_of(context)
    return Zoo.open(settings.zoo, create=create, database_url=settings.database_url, blobs_url=settings.blobs_url)


def print_json(value: Any) -> None:
    """Print one JSON document; moments are written as ISO 8601."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=_to_json))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """Print a table without lines; cells are taken literally, never as markup."""
    table = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_plain(cell) for cell in row))
    bulletin().print(table, markup=False)


def bulletin(*, to_stderr: bool = False) -> Console:
    """Return a rich console for results, or for progress and remarks on stderr."""
    stream = sys.stderr if to_stderr else sys.stdout
    return Console(file=stream, width=None if stream.isatty() else _PIPE_WIDTH, highlight=False, emoji=False)


@contextmanager
def progress(description: str, *, hidden: bool = False) -> Iterator[Callable[[int, int], None]]:
    """Show a bar on stderr; the block is given a function to tell how much of how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=bulletin(to_stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task(description, total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total)

        yield tell


def moment(at: datetime) -> str:
    """Return a moment as a person reads it, in UTC.

    >>> from datetime import UTC
    >>> moment(datetime(2025, 1, 2, 3, 4, 5, tzinfo=UTC))
    '2025-01-02 03:04 UTC'
    """
    return f"{at:%Y-%m-%d %H:%M} UTC"


class DomainFailure(click.ClickException):
    """A refusal that a person can act on: one line on stderr, exit code 1, no traceback."""

    exit_code = 1

    def show(self, file: Any = None) -> None:
        """Print the line."""
        click.echo(f"error: {self.message}", file=file or sys.stderr)


@contextmanager
def domain_errors() -> Iterator[None]:
    """Turn errors that were raised on purpose, in whichever folder, into a ``DomainFailure``.

    They are known by a stable ``code`` on their class, so this needs to import none of them.
    """
    try:
        yield
    except click.ClickException:
        raise
    except Exception as error:
        code = getattr(type(error), "code", None)
        if isinstance(code, str) and _CODE.fullmatch(code):
            raise DomainFailure(str(error)) from error
        raise


def _plain(cell: object) -> str:
    return moment(cell) if isinstance(cell, datetime) else str(cell)


def _to_json(value: object) -> object:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} is not JSON")
