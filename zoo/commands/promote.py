"""``zoo promote`` and ``zoo rollback``: move aliases."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict

import click

from zoo.author import author
from zoo.console import json_option, open_zoo, print_json, zoo_option
from zoo.registry.records import Move, Promotion

__all__ = ["promote", "rollback"]

_by_option = click.option("--by", default="", help="Who moves it.  [default: git user or login name]")
_reason_option = click.option("--reason", default="", help="Why, for the promotion log.")


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="HEAD@NUMBER...")
@click.argument("alias")
@click.option("--expect-epoch", type=click.IntRange(min=0), help="Only if the alias has moved exactly this often.")
@_reason_option
@_by_option
@zoo_option
@json_option
@click.pass_context
def promote(
    context: click.Context,
    references: Sequence[str],
    alias: str,
    expect_epoch: int | None,
    reason: str,
    by: str,
    as_json: bool,
) -> None:
    """Make ALIAS mean the versions given; several heads move in one transaction.

    Example: zoo promote intent@7 prod --expect-epoch 3 --reason "better on negation"
    """
    _check_usage(references, expect_epoch)
    with open_zoo(context) as zoo:
        versions = [zoo.resolve(reference).version for reference in references]
        _check_once([version.head for version in versions], alias)
        moves = [Move(version.head, alias, version.number, expect_epoch) for version in versions]
        _report(zoo.promote(moves, by=by or author(), reason=reason), as_json)


@click.command()
@click.argument("head")
@click.argument("alias")
@_reason_option
@_by_option
@zoo_option
@json_option
@click.pass_context
def rollback(context: click.Context, head: str, alias: str, reason: str, by: str, as_json: bool) -> None:
    """Make ALIAS of HEAD mean what it meant before; itself a promotion, so nothing is lost.

    Example: zoo rollback intent prod --reason "slower than expected"
    """
    with open_zoo(context) as zoo:
        _report([zoo.rollback(head, alias, by=by or author(), reason=reason or "rollback")], as_json)


def _check_usage(references: Sequence[str], expect_epoch: int | None) -> None:
    if plain := [reference for reference in references if "@" not in reference]:
        raise click.UsageError(
            f"{plain[0]!r} does not say which version. Expected {plain[0]}@<number>, such as intent@7."
        )
    if expect_epoch is not None and len(references) > 1:
        raise click.UsageError("--expect-epoch goes with one version: every head's aliases have their own epochs.")


def _check_once(heads: Sequence[str], alias: str) -> None:
    for head, count in Counter(heads).items():
        if count > 1:
            raise click.UsageError(f"This names {head!r} twice, and its {alias!r} can only mean one version. Name one.")


def _report(promotions: Sequence[Promotion], as_json: bool) -> None:
    if as_json:
        print_json([asdict(promotion) for promotion in promotions])
        return
    for moved in promotions:
        click.echo(f"{moved.head}@{moved.alias} is now {moved.head}@{moved.number} (epoch {moved.epoch})")
