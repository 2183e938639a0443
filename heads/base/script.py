"""``python -m heads.<team>``: the same as ``zoo head train <team>``, from within the package."""

import click

from heads.base.commands.head import force_option, promote_option
from heads.base.commands.training import train_packages
from heads.base.declaration import Head
from heads.base.launch import launched, one_voice
from heads.base.packages import load_package
from zoo.console import domain_errors, json_option, zoo_option

__all__ = ["main"]


def main(head: Head) -> None:
    """Run a team's fine-tuning script.

    Args:
        head: the declaration of the team's head.
    """

    @click.command(help=f"Build the head {head.name!r}: features, training, gate, export, parity, publishing.")
    @promote_option
    @force_option
    @zoo_option
    @json_option
    @click.pass_context
    def script(context: click.Context, promote_to: tuple[str, ...], force: bool, as_json: bool) -> None:
        with one_voice(launched()), domain_errors():
            packages = [load_package(head.team)]
            train_packages(context, packages, promote_to=promote_to, force=force, as_json=as_json)

    script(prog_name=f"python -m heads.{head.team.replace('-', '_')}")
