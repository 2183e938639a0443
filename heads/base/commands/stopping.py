"""Ctrl-C while a head is built: what stands afterwards, and from where the same command goes on."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from heads.base.runs.folder import runs_of
from zoo import Zoo
from zoo.console import DomainFailure

__all__ = ["Stopped", "stopping"]


class Stopped(DomainFailure):
    """A person pressed Ctrl-C; the exit code is what shells give a program that SIGINT ended, 128 + 2."""

    exit_code = 130


@contextmanager
def stopping(zoo: Zoo, zoo_folder: str | Path, head: str) -> Iterator[None]:
    """Say what a Ctrl-C in the body means for the head that it builds.

    Args:
        zoo: where the head is published.
        zoo_folder: its folder, where runs are.
        head: the head's name.

    Raises:
        Stopped: the text says whether anything was published, and how it goes on.
    """
    before = _newest(zoo, head)
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped(_explain(zoo, zoo_folder, head, before)) from None


def _explain(zoo: Zoo, zoo_folder: str | Path, head: str, before: int) -> str:
    if (now := _newest(zoo, head)) != before:
        return f"{head!r} was stopped when {head}@{now} had just been published."
    told = f"{head!r} was stopped. Nothing of it was published"
    run = next(iter(runs_of(zoo_folder, head)), None)
    if run and run.state == "stopped" and (step := run.checkpointed_step):
        return f"{told}. The same command goes on from step {step:,}."
    return f"{told}; its features are kept. The same command trains it from the beginning."


def _newest(zoo: Zoo, head: str) -> int:
    """Return the number of the head's newest version; 0 if it has none."""
    if head not in {summary.name for summary in zoo.heads()}:
        return 0
    return zoo.versions(head)[0].number
