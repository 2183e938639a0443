"""The report: every section about a version, on one page that needs nothing else."""

from collections.abc import Callable
from pathlib import Path

from heads.base.declaration import Head
from heads.base.inspect.collect import Subject
from heads.base.inspect.page import Section, page
from heads.base.inspect.sections_about import about, activations, gradients, learning
from heads.base.inspect.sections_answers import calibration, classes, mistakes, slices, top_losses
from heads.base.inspect.sections_inside import explanations, landscape, rebuilt_or_why, surroundings
from heads.base.threads import one_thread

__all__ = ["make_report", "write_report"]

OnSection = Callable[[int, int], None]
"""Told how many sections are done, and of how many."""


def make_report(subject: Subject, declared: Head, *, on_section: OnSection = lambda _done, _total: None) -> str:
    """Return the report as one HTML document.

    Args:
        subject: the version, its answers, and what its training left.
        declared: the head's declaration.
        on_section: told about progress.
    """
    training = subject.training
    with one_thread():
        path = rebuilt_or_why(subject, declared)
        makers: tuple[Callable[[], Section], ...] = (
            lambda: about(subject),
            lambda: learning(training.history, averaged=bool(subject.manifest.recipe.get("swa"))),
            lambda: mistakes(subject),
            lambda: classes(subject),
            lambda: slices(subject),
            lambda: calibration(subject),
            lambda: top_losses(subject),
            lambda: explanations(subject, path),
            lambda: surroundings(subject),
            lambda: landscape(subject, path),
            lambda: activations(training.activations),
            lambda: gradients(training.activations, training.history),
        )
        sections = []
        for done, make in enumerate(makers):
            on_section(done, len(makers))
            sections.append(make())
    counted = f"{len(subject.judged):,} examples of the {subject.split} split"
    return page(f"{subject.version}", f"Hydrazoo report: {subject.manifest.answer.kind}, {counted}", sections)


def write_report(text: str, file: Path) -> None:
    """Write a report; the file is whole or as it was before."""
    file.parent.mkdir(parents=True, exist_ok=True)
    new = file.with_name(f".{file.name}.new")
    try:
        new.write_text(text, encoding="utf-8")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
