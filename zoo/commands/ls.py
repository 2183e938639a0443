"""``zoo ls``: the heads, or the versions of one."""

from dataclasses import asdict

import click

from zoo.console import json_option, open_zoo, print_json, print_table, zoo_option
from zoo.digest import SHORT_DIGEST_LENGTH
from zoo.registry.records import HeadSummary
from zoo.zoo import Zoo

__all__ = ["ls"]


@click.command()
@click.argument("head", default="")
@zoo_option
@json_option
@click.pass_context
def ls(context: click.Context, head: str, as_json: bool) -> None:
    """List the heads and backbones, or the versions of HEAD.

    Example: zoo ls intent
    """
    with open_zoo(context) as zoo:
        if head:
            _list_versions(zoo, head, as_json)
        else:
            _list_heads(zoo, as_json)


def _list_heads(zoo: Zoo, as_json: bool) -> None:
    heads, backbones = zoo.heads(), zoo.registry.backbones()
    if as_json:
        print_json({"heads": [_head_json(head) for head in heads], "backbones": [row._asdict() for row in backbones]})
        return
    if not heads:
        click.echo("There is no head yet. `zoo head train <team>` makes the first version of one.")
    else:
        print_table(("head", "newest", "aliases"), [(h.name, h.latest_number, _aliases_text(h)) for h in heads])
    click.echo()
    rows = [(f"{row.name}@{row.number}", row.digest[:SHORT_DIGEST_LENGTH]) for row in backbones]
    print_table(("backbone", "digest"), rows)


def _list_versions(zoo: Zoo, head: str, as_json: bool) -> None:
    versions = zoo.versions(head)
    summary = next(summary for summary in zoo.heads() if summary.name == head)
    if as_json:
        print_json({**_head_json(summary), "versions": [asdict(version) for version in versions]})
        return
    marks = _marks(summary)
    rows = [(v, marks.get(v.number, ""), v.digest[:SHORT_DIGEST_LENGTH], v.created_at, v.created_by) for v in versions]
    print_table(("version", "aliases", "digest", "created", "by"), rows)


def _marks(head: HeadSummary) -> dict[int, str]:
    """Return what each version is to the aliases of its head.

    >>> from zoo.registry.records import AliasState
    >>> _marks(HeadSummary("intent", 8, (AliasState("prod", 6, 3, 7, 10, (8,)), AliasState("stable", 6, 1))))
    {6: 'prod stable', 7: 'prod (10 %)', 8: 'prod (shadow)'}
    """
    marks: dict[int, list[str]] = {}
    for state in head.aliases:
        marks.setdefault(state.number, []).append(state.alias)
        if state.canary:
            marks.setdefault(state.canary, []).append(f"{state.alias} ({state.canary_percent} %)")
        for number in state.shadows:
            marks.setdefault(number, []).append(f"{state.alias} (shadow)")
    return {number: " ".join(words) for number, words in marks.items()}


def _aliases_text(head: HeadSummary) -> str:
    return ", ".join(f"{state.alias} → {state.meaning} (epoch {state.epoch})" for state in head.aliases)


def _head_json(head: HeadSummary) -> dict[str, object]:
    return {
        "head": head.name,
        "latest_number": head.latest_number,
        "aliases": [state._asdict() for state in head.aliases],
    }
