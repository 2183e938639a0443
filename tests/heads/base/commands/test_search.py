"""``zoo head search`` as a person runs it: killed, interrupted, gone on with, written; and ``zoo head runs``."""

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.support.head_packages import TeamFolder, among_the_teams
from zoo.commands import main

HEAD_PY = '''"""The mood head."""

from heads.base import Classify, Head

HEAD = Head(name="mood", team="mood", backbone="tiny", task=Classify(labels=("good", "bad")))
'''
RECIPE = "# chosen by hand\nepochs = 4\nlearning_rate = 3e-4  # too low\npatience = 2\n"
ZOO = """
import sys
import heads
heads.__path__.append(sys.argv.pop(1))
from zoo.commands import main
main()
"""


class Mood:
    """A package heads/mood of one test, and the command: in this process, or in one of its own that can be killed."""

    def __init__(self, team: TeamFolder, zoo: Path) -> None:
        self.team = team
        self.zoo = zoo
        team.write_recipe(RECIPE)

    @property
    def recipe(self) -> str:
        return (self.team.path / "recipe.toml").read_text()

    def start(self, *words: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", ZOO, str(self.team.path.parent), *words, "--zoo", str(self.zoo)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def run(self, *words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, [*words, "--zoo", str(self.zoo)])
        assert result.exit_code == code, result.output
        return result.output

    def search(self, trials: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("head", "search", "mood", "--trials", str(trials), "--json"))
        return found

    def runs(self) -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = json.loads(self.run("head", "runs", "mood", "--json"))
        return listed

    def wait_for_trials(self, count: int) -> None:
        for _ in range(1200):
            journal = next((self.zoo / "runs" / "mood").glob("search-*/journal.jsonl"), None)
            if journal and journal.read_text().count('"changes"') >= count:
                return
            time.sleep(0.05)
        raise AssertionError(f"not {count} trials in a minute")


@pytest.fixture
def mood(tmp_path: Path, zoo_folder: Path) -> Iterator[Mood]:
    with among_the_teams(TeamFolder(tmp_path / "more_heads" / "mood"), head=HEAD_PY) as team:
        yield Mood(team, zoo_folder)


def test_a_search_that_was_killed_finds_what_an_uninterrupted_one_finds(mood: Mood, tmp_path: Path) -> None:
    other = Mood(mood.team, Path(shutil.copytree(mood.zoo, tmp_path / "other-zoo")))
    process = mood.start("head", "search", "mood", "--trials", "12")
    mood.wait_for_trials(3)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert [(run["kind"], run["state"]) for run in mood.runs()] == [("search", "stopped")]
    found, whole = mood.search(12), other.search(12)
    assert found["trials"] == 12
    assert found == whole
    assert [run["state"] for run in mood.runs()] == ["done"]


def test_ctrl_c_ends_after_the_trial_and_the_same_command_goes_on(mood: Mood) -> None:
    process = mood.start("head", "search", "mood", "--trials", "100000")
    mood.wait_for_trials(2)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "ends after this trial" in errors
    assert "of 100000 trials: the same command goes on." in output
    assert mood.search(1)["trials"] >= 2


def test_the_best_recipe_is_a_diff_and_is_written_only_when_asked(mood: Mood) -> None:
    found = mood.search(12)
    assert found["changes"]["learning_rate"] > 3e-4
    assert found["score"] > found["today"]
    assert "-learning_rate = 3e-4  # too low\n+learning_rate = " in found["diff"]
    assert mood.recipe == RECIPE
    shown = mood.run("head", "search", "mood", "--trials", "12", "--write")
    assert found["diff"] in shown
    assert "written to" in shown
    assert mood.recipe.startswith(f"# chosen by hand\nepochs = 4\nlearning_rate = {found['changes']['learning_rate']}")
    again = mood.search(12)
    assert (again["changes"], again["diff"]) == ({}, "")
    assert again["today"] == found["score"]
    nothing_new = json.loads(mood.run("head", "search", "mood", "--trials", "12", "--write", "--json"))
    assert nothing_new["written"] is False


def test_mistakes_are_refused_with_a_line(mood: Mood) -> None:
    (mood.team.path / "head.py").write_text(
        HEAD_PY.replace("Classify, Head", "Classify, Head, Tail").replace(
            'backbone="tiny"', 'backbone="tiny", tail=Tail(blocks=1)'
        )
    )
    assert "'mood' has a tail" in mood.run("head", "search", "mood", code=1)
    assert "Did you mean 'mood'?" in mood.run("head", "search", "moood", code=1)
    assert "is not in the range" in mood.run("head", "search", "mood", "--trials", "0", code=2)
