"""``python -m benchmarks.finetune CLAIM``: measure what the fine-tuning library must show."""

import importlib
import os

# Before torch is loaded, here and in child processes: OpenMP threads that spin make the body ten times slower where
# anything else runs, and would make what we are compared with look bad.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import click

__all__ = ["main"]

CLAIMS = {
    "epochs": ("benchmarks.finetune.epochs", "epochs_main"),
    "search": ("benchmarks.finetune.search", "search_main"),
    "averaging": ("benchmarks.finetune.averaging", "averaging_main"),
    "unfreeze": ("benchmarks.finetune.unfreeze", "main"),
    "transfer": ("benchmarks.finetune.transfer", "main"),
    "uncertainty": ("benchmarks.finetune.uncertainty", "main"),
}
"""Each in a module of its own, which is imported when it is asked for."""


class _Claims(click.Group):
    """The claims as sub-commands."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(CLAIMS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in CLAIMS:
            return None
        module, name = CLAIMS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), name)
        return command


@click.command(cls=_Claims)
def main() -> None:
    """Measure a claim. Leave the machine alone meanwhile.

    Example: python -m benchmarks.finetune epochs --rounds 3
    """


if __name__ == "__main__":
    main(prog_name="python -m benchmarks.finetune")
