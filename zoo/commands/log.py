"""``zoo log``: what a head's aliases meant, and when, who and why."""

from dataclasses import asdict

import click

from zoo.console import json_option, open_zoo, print_json, print_table, zoo_option

__all__ = ["log"]


@click.command()
@click.argument("head")
@click.option("--alias", default="", help="Only this alias.")
@zoo_option
@json_option
@click.pass_context
def log(context: click.Context, head: str, alias: str, as_json: bool) -> None:
    """Show the promotions of HEAD, newest first.

    Example: zoo log intent --alias prod
    """
    with open_zoo(context) as zoo:
        zoo.versions(head)  # an unknown head is an error, and not an empty log
        entries = zoo.promotions(head, alias)
    if as_json:
        print_json([asdict(entry) for entry in entries])
    elif not entries:
        click.echo(f"No alias of {head} has moved yet. `zoo promote {head}@<number> prod` moves the first.")
    else:
        rows = [(e.at, e.alias, e.epoch, f"{e.head}@{e.meaning}", e.by, e.reason) for e in entries]
        print_table(("when", "alias", "epoch", "version", "by", "reason"), rows)
