"""``zoo``: a group whose sub-commands are entry points, each imported only when it is run."""

from importlib.metadata import EntryPoint, entry_points
from typing import Any

import click

from zoo.console import DomainFailure, domain_errors
from zoo.suggest import did_you_mean

__all__ = ["ENTRY_POINTS", "LazyGroup", "load_command", "main"]

ENTRY_POINTS = "hydrazoo.commands"


class LazyGroup(click.Group):
    """A group that finds its sub-commands by name among entry points, and imports no other than the one it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's seam
        """Return the names of all sub-commands."""
        return sorted(point.name for point in entry_points(group=ENTRY_POINTS))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's seam
        """Import one sub-command; None if there is no such."""
        found = [point for point in entry_points(group=ENTRY_POINTS) if point.name == cmd_name]
        return load_command(found[0]) if found else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the sub-command that the arguments begin with; an unknown one is a usage error naming the closest."""
        names = self.list_commands(ctx)
        if args and args[0] not in names and not args[0].startswith("-"):
            ctx.fail(f"There is no command {args[0]!r}.{did_you_mean(args[0], names)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the sub-commands; one whose dependencies are not installed is listed with what it lacks."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self._summary(ctx, name)) for name in self.list_commands(ctx)])

    def invoke(self, ctx: click.Context) -> Any:
        """Run the sub-command; refusals become one line on stderr and exit code 1."""
        with domain_errors():
            return super().invoke(ctx)

    def _summary(self, ctx: click.Context, name: str) -> str:
        try:
            command = self.get_command(ctx, name)
        except DomainFailure as failure:
            return failure.message
        return command.get_short_help_str(limit=200) if command else ""


def load_command(point: EntryPoint) -> click.Command:
    """Import a sub-command.

    Raises:
        DomainFailure: something that it imports is not installed.
    """
    try:
        command = point.load()
    except ModuleNotFoundError as error:
        raise DomainFailure(
            f"`zoo {point.name}` needs the module {error.name!r}, which is not installed here. "
            "pip install 'hydrazoo-platform[train]' installs what fine-tuning and export need."
        ) from error
    assert isinstance(command, click.Command), f"entry point {point.name} is {command!r}, and no click command"
    return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="hydrazoo-platform")
def main() -> None:
    """One body, many heads, one zoo: look at, publish, promote and serve models on a shared backbone.

    Example: zoo show intent@prod
    """
