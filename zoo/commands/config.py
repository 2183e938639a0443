"""``zoo config``: every setting, and where its value came from."""

import re
from dataclasses import asdict, replace

import click

from zoo.console import json_option, print_json, print_table, settings_of, zoo_option

__all__ = ["config"]


@click.command()
@zoo_option
@json_option
@click.pass_context
def config(context: click.Context, as_json: bool) -> None:
    """Print each setting and its origin: flag, environment, hydrazoo.toml or default.

    Example: HYDRAZOO_ZOO=/srv/zoo zoo config
    """
    settings = [replace(setting, value=_without_password(setting.value)) for setting in settings_of(context).origins]
    if as_json:
        print_json([asdict(setting) for setting in settings])
        return
    rows = [(setting.key, setting.value or "(in the zoo's folder)", setting.origin) for setting in settings]
    print_table(("setting", "value", "origin"), rows)


def _without_password(value: str) -> str:
    """Return a setting as it may be shown; a URL's password is starred out.

    >>> _without_password("postgresql+psycopg://zoo:secret@db/zoo")
    'postgresql+psycopg://zoo:***@db/zoo'
    """
    return re.sub(r"(?<=://)([^:/@]*):[^@]*@", r"\1:***@", value)
