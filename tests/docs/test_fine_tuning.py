"""What docs/fine-tuning.md shows is what the commands take, and what only looks or searches runs as it stands there."""

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from heads.base.recipe import Recipe
from zoo.commands import main

DOCUMENT = (Path(__file__).parents[2] / "docs" / "fine-tuning.md").read_text()
BLOCK = re.compile(r"```(\w+)\n(.*?)```", re.DOTALL)
LOOKS = ("head check", "head lr-find", "head search", "head runs", "head train")


def commands() -> list[list[str]]:
    lines = [line for kind, text in BLOCK.findall(DOCUMENT) if kind == "sh" for line in text.splitlines()]
    return [shlex.split(line, comments=True)[1:] for line in lines if line.startswith(".venv/bin/zoo ")]


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_a_command_that_is_shown_is_one(words: list[str]) -> None:
    command: click.Command = main
    context = click.Context(main)
    while isinstance(command, click.Group):
        found = command.get_command(context, words[0])
        assert found is not None, f"there is no `zoo {words[0]}`"
        command, words = found, words[1:]
    command.make_context("zoo", list(words))


def test_what_is_shown_runs_in_its_order(sample_zoo: Path, tmp_path: Path) -> None:
    zoo = shutil.copytree(sample_zoo, tmp_path / "zoo")
    shown = [words for words in commands() if " ".join(words[:2]) in LOOKS and "--write" not in words]
    assert {" ".join(words[:2]) for words in shown} == set(LOOKS)
    for words in shown:
        few = ["2" if word == "200" else word for word in words]
        result = CliRunner().invoke(main, [*few, *([] if "--file-only" in few else ["--zoo", str(zoo)])])
        assert result.exit_code == 0, f"{' '.join(words)}:\n{result.output}"


def test_python_of_the_page_runs() -> None:
    for code in (text for kind, text in BLOCK.findall(DOCUMENT) if kind == "python"):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_every_key_that_the_page_names_is_a_recipes() -> None:
    rows = re.findall(r"^\| (`.*?) \|", DOCUMENT, re.MULTILINE)
    named = {key for row in rows for key in re.findall(r"`(\w+)`", row)}
    assert len(named) > 5
    assert named <= set(Recipe.model_fields)
