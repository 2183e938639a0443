"""A progress bar for a build: one line on stderr, gone when the work is done."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from heads.base.building.phases import Phases
from zoo.console import bulletin

__all__ = ["shown_phases"]


@contextmanager
def shown_phases(what: str, *, hidden: bool = False) -> Iterator[Phases]:
    """Give phases whose progress is shown.

    Args:
        what: what is built, shown before the phase.
        hidden: show nothing, as where JSON is asked for.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=bulletin(to_stderr=True), transient=True, disable=hidden) as bar:
        task = bar.add_task(what, total=None)

        def tell(name: str, done: int, total: int) -> None:
            bar.update(task, description=f"{what}: {name}", completed=done, total=total or None)

        yield Phases(tell)
