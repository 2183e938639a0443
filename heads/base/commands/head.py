"""``zoo head``: fine-tune and publish heads, and list the head packages."""

from typing import Any

import click

from heads.base.commands.check import check
from heads.base.commands.inspect import inspect
from heads.base.commands.lr_find import lr_find
from heads.base.commands.runs import runs
from heads.base.commands.search import search
from heads.base.commands.test import test
from heads.base.commands.training import train_packages
from heads.base.launch import launched, one_voice
from heads.base.packages import find_teams, load_package
from heads.base.packages import new_package as make_package
from zoo.console import json_option, print_json, print_table, zoo_option

__all__ = ["force_option", "head", "promote_option"]

promote_option = click.option(
    "--promote", "promote_to", multiple=True, metavar="ALIAS", help="Make ALIAS mean the version, if it is published."
)
force_option = click.option("--force", is_flag=True, help="Build even if nothing changed.")


@click.group()
def head() -> None:
    """Fine-tune, test, export and publish heads.

    Example: zoo head train intent --promote prod
    """


@head.command()
@click.argument("teams", nargs=-1, required=True, metavar="TEAM...")
@promote_option
@force_option
@zoo_option
@json_option
@click.pass_context
def train(
    context: click.Context, teams: tuple[str, ...], promote_to: tuple[str, ...], force: bool, as_json: bool
) -> None:
    """Build the head of each TEAM: features, training, gate, export, parity, publishing. What is unchanged is kept.

    Example: zoo head train intent urgency --promote prod
    """
    with one_voice(launched()):
        packages = [load_package(team) for team in teams]
        train_packages(context, packages, promote_to=promote_to, force=force, as_json=as_json)


@head.command()
@json_option
def ls(as_json: bool) -> None:
    """List the head packages that are here, built or not.

    Example: zoo head ls
    """
    found = [load_package(team).head.describe() for team in find_teams()]
    if as_json:
        print_json(found)
        return
    rows = [
        (each["team"], each["name"], each["task"]["kind"], each["backbone"], each["attach"], _trained(each.get("tail")))
        for each in found
    ]
    print_table(("team", "head", "task", "backbone", "after stage", "trains"), rows)


def _trained(tail: dict[str, Any] | None) -> str:
    """Return what a head trains, for people.

    >>> _trained({"blocks": 2, "how": "lora", "rank": 8, "alpha": 16.0}), _trained(None)
    ('LoRA of rank 8 on the last 2 blocks', 'the head alone')
    """
    if tail is None:
        return "the head alone"
    blocks = {"all": "all blocks", 1: "the last block"}.get(tail["blocks"], f"the last {tail['blocks']} blocks")
    return f"LoRA of rank {tail['rank']} on {blocks}" if tail["how"] == "lora" else blocks


@head.command()
@click.argument("team")
@click.option("--from", "template", default="intent", show_default=True, metavar="TEAM", help="The package to copy.")
def new(team: str, template: str) -> None:
    """Start the package of a new TEAM as a copy of another, with its names changed.

    Example: zoo head new mood --from intent
    """
    folder = make_package(team, template)
    click.echo(f"made {folder}. Now write its labels and its task, then: zoo head train {team}")


head.add_command(runs)
head.add_command(search)
head.add_command(check)
head.add_command(test)
head.add_command(inspect)
head.add_command(lr_find)
