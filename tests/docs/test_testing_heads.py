"""What docs/testing-heads.md shows runs as it stands there."""

import ast
import re
import shlex
from pathlib import Path
from typing import Any

import click
import pytest

from heads.base.commands.check import check
from heads.base.commands.test import test as run_tests
from heads.base.packages import load_package
from heads.base.testing import Model
from zoo import Zoo
from zoo.commands.readings import readings

PAGE = (Path(__file__).parents[2] / "docs" / "testing-heads.md").read_text()
PYTHON = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
COMMANDS = re.findall(r"^\.venv/bin/zoo (.*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
KNOWN: dict[str, click.Command] = {"head check": check, "head test": run_tests, "readings": readings}


def examples_in(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(compile(ast.parse(code), "docs/testing-heads.md", "exec"), names)
    return {name: value for name, value in names.items() if name.startswith("test_")}


def test_the_example_of_labels_holds() -> None:
    (labels_example,) = examples_in(PYTHON[0]).values()
    labels_example()


def test_the_examples_of_expectations_hold_for_the_sample_head(sample_zoo: Path) -> None:
    found = examples_in(PYTHON[1])
    assert len(found) == 4
    with Zoo.open(sample_zoo) as zoo:
        model = Model(zoo, zoo.resolve("urgency").version, load_package("urgency"), by="docs")
        for example in found.values():
            example(model)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_take_what_the_page_gives_them(command: str) -> None:
    name = next(name for name in KNOWN if command.startswith(name))
    KNOWN[name].make_context(name, shlex.split(command.removeprefix(name)))


def test_the_page_shows_every_command() -> None:
    assert {name for name in KNOWN for command in COMMANDS if command.startswith(name)} == set(KNOWN)
