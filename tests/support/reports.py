"""Reports as tests read them: every page has the same sections, is well formed, and loads nothing."""

from heads.base import Head
from heads.base.inspect.collect import Subject
from heads.base.inspect.report import make_report
from tests.support.html_page import ParsedPage

__all__ = ["SECTIONS", "report"]

SECTIONS = [
    "about",
    "learning",
    "mistakes",
    "classes",
    "slices",
    "reliability",
    "losses",
    "why",
    "map",
    "landscape",
    "activations",
    "gradients",
]


def report(subject: Subject, head: Head) -> tuple[str, ParsedPage]:
    """Return the page about a version, and what is on it."""
    text = make_report(subject, head)
    parsed = ParsedPage(text)
    assert list(parsed.sections) == SECTIONS
    assert "script" not in parsed.tags
    assert parsed.addresses == []
    assert parsed.unclosed == []
    assert len(set(parsed.ids)) == len(parsed.ids)
    assert set(parsed.references) <= set(parsed.ids)
    return text, parsed
