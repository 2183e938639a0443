"""``zoo readings``: who looked at the labels of a head's test split, when, and what for."""

from collections.abc import Mapping
from dataclasses import asdict

import click

from zoo.console import json_option, open_zoo, print_json, print_table, zoo_option
from zoo.digest import SHORT_DIGEST_LENGTH
from zoo.registry.records import Reading

__all__ = ["readings"]


@click.command()
@click.argument("head")
@zoo_option
@json_option
@click.pass_context
def readings(context: click.Context, head: str, as_json: bool) -> None:
    """Show the readings of HEAD's test split, newest first.

    What is chosen after looking at test scores is fitted to them: the more readings since the split last changed, the
    less a score may be believed.

    Example: zoo readings intent
    """
    with open_zoo(context) as zoo:
        found = zoo.readings(head)
        if not found:
            zoo.versions(head)  # an unknown head is an error, and not an empty log
        built = {version.build_key: str(version) for version in reversed(zoo.registry.versions(head))}
    count = sum(reading.test_split == found[0].test_split for reading in found) if found else 0
    if as_json:
        entries = [asdict(reading) | {"version": _subject(reading, built)} for reading in found]
        print_json({"head": head, "since_the_split_changed": count, "readings": entries})
        return
    if found:
        columns = ("when", "by", "what for", "version", "labels", "test split")
        print_table(columns, [_row(reading, built) for reading in found])
    click.echo(f"{head}: {count} {'reading' if count == 1 else 'readings'} since the test split last changed")


def _row(reading: Reading, built: Mapping[str, str]) -> tuple[object, ...]:
    return (
        reading.at,
        reading.by,
        reading.reason,
        _subject(reading, built) or f"none, build {reading.build_key[:SHORT_DIGEST_LENGTH]}",
        reading.labels[:SHORT_DIGEST_LENGTH],
        reading.test_split[:SHORT_DIGEST_LENGTH],
    )


def _subject(reading: Reading, built: Mapping[str, str]) -> str:
    """Return the version that was tested, or that came of the build; empty if none did."""
    return f"{reading.head}@{reading.number}" if reading.number else built.get(reading.build_key, "")
