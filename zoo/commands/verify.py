"""``zoo verify``: read everything, and say what is wrong."""

from dataclasses import asdict

import click

from zoo.console import json_option, open_zoo, print_json, print_table, progress, zoo_option
from zoo.verification import Verification, verify_zoo

__all__ = ["verify"]


@click.command()
@zoo_option
@json_option
@click.pass_context
def verify(context: click.Context, as_json: bool) -> None:
    """Check every blob, manifest, stage, version and alias; exit code 1 if something is wrong.

    Example: zoo verify --json
    """
    with open_zoo(context) as zoo, progress("Reading blobs", hidden=as_json) as tell:
        found = verify_zoo(zoo.registry, zoo.blobs, tell)
    if as_json:
        print_json({"ok": not found.problems, **asdict(found)})
    else:
        _print(found)
    context.exit(1 if found.problems else 0)


def _print(found: Verification) -> None:
    if found.problems:
        print_table(("what", "problem", "details"), [(p.subject, p.kind, p.message) for p in found.problems])
    if found.unreferenced:
        click.echo(f"{len(found.unreferenced)} blobs belong to nothing: left by something interrupted, and harmless.")
    verdict = f"{len(found.problems)} problems" if found.problems else "All is well"
    click.echo(f"{verdict}: {found.versions} versions, {found.stages} stages, {found.blobs} blobs read.")
