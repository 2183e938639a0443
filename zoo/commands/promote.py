"""``zoo promote`` and ``zoo rollback``: move aliases."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from zoo.author import author
from zoo.console import json_option, open_zoo, print_json, zoo_option
from zoo.registry.records import Meaning, Move, Promotion, Role
from zoo.zoo import Zoo

__all__ = ["promote", "rollback"]

_by_option = click.option("--by", default="", help="Who moves it.  [default: git user or login name]")
_reason_option = click.option("--reason", default="", help="Why, for the promotion log.")


@click.command()
@click.argument("references", nargs=-1, required=True, metavar="HEAD@NUMBER...")
@click.argument("alias")
@click.option(
    "--canary", "percent", type=click.IntRange(1, 99), metavar="PERCENT", help="Give it this share of callers."
)
@click.option("--shadow", is_flag=True, help="Run it beside what answers, and compare; it answers nobody.")
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
    *,
    percent: int | None,
    shadow: bool,
    expect_epoch: int | None,
    reason: str,
    by: str,
    as_json: bool,
) -> None:
    r"""Make ALIAS mean the versions given; several heads move in one transaction.

    With --canary or --shadow what ALIAS means now stays, and the version joins it. Without them ALIAS means that
    version alone: its canary and its shadows end.

    \b
    Example: zoo promote intent@7 prod --canary 10
    Example: zoo promote intent@7 prod --expect-epoch 3 --reason "better on negation"
    """
    _check_usage(references, expect_epoch)
    if percent and shadow:
        raise click.UsageError("--canary and --shadow exclude each other: a shadow answers nobody. Choose one.")
    role: Role = "canary" if percent else "shadow" if shadow else "all"
    with open_zoo(context) as zoo:
        versions = [zoo.resolve(reference).version for reference in references]
        _check_once([version.head for version in versions], alias)
        moves = [Move(version.head, alias, version.number, expect_epoch, role, percent or 0) for version in versions]
        moved = zoo.promote(moves, by=by or author(), reason=reason)
        _report(moved, as_json, [line for each in moved for line in _ended(_before(zoo, each), each)])


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


def _report(promotions: Sequence[Promotion], as_json: bool, more: Sequence[str] = ()) -> None:
    if as_json:
        print_json([asdict(promotion) for promotion in promotions])
        return
    for moved in promotions:
        click.echo(f"{moved.head}@{moved.alias} is now {moved.head}@{moved.meaning} (epoch {moved.epoch})")
    for line in more:
        click.echo(line)


def _before(zoo: Zoo, moved: Promotion) -> Meaning:
    """Return what the alias meant until then; nothing if that was its first move."""
    entries = zoo.promotions(moved.head, moved.alias)
    return next((entry.meaning for entry in entries if entry.epoch == moved.epoch - 1), Meaning(0))


def _ended(before: Meaning, moved: Promotion) -> Iterator[str]:
    """Yield what the alias had beside its version and has no more."""
    name = f"{moved.head}@{moved.alias}"
    if before.canary not in (0, moved.canary, moved.number):
        yield f"the canary {moved.head}@{before.canary} of {name} ended"
    for number in before.shadows:
        if number not in (*moved.shadows, moved.canary, moved.number):
            yield f"the shadow {moved.head}@{number} of {name} ended"
