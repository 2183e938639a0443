"""``zoo head lr-find`` as a person runs it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.head_packages import TeamFolder, among_the_teams
from zoo.commands import main

HEAD_PY = '''"""The mood head."""

from heads.base import Classify, Head

HEAD = Head(name="mood", team="mood", backbone="tiny", task=Classify(labels=("good", "bad")))
'''


@pytest.fixture
def team(tmp_path: Path) -> Iterator[TeamFolder]:
    with among_the_teams(TeamFolder(tmp_path / "more_heads" / "mood"), head=HEAD_PY) as team:
        yield team


def lr_find(zoo: Path, *words: object) -> Result:
    return CliRunner().invoke(main, ["head", "lr-find", "mood", "--zoo", str(zoo), *map(str, words)])


def test_a_learning_rate_is_suggested_and_drawn(team: TeamFolder, zoo_folder: Path, tmp_path: Path) -> None:
    plot = tmp_path / "plots" / "mood.svg"
    found = json.loads(lr_find(zoo_folder, "--json", "--plot", plot).output)
    rates = found["learning_rates"]
    assert 1e-4 < rates["valley"] < 1
    assert rates["recipe.toml"] == 0.03
    assert found["plot"] == str(plot)
    assert plot.read_bytes().startswith(b"<?xml")
    shown = lr_find(zoo_folder)
    assert f"learning_rate = {rates['valley']:.1e}" in shown.output
    assert (zoo_folder / "runs" / "mood" / "lr-find.svg").exists()


def test_what_cannot_be_is_refused(team: TeamFolder, zoo_folder: Path, tmp_path: Path) -> None:
    crossed = lr_find(zoo_folder, "--lowest", "1", "--highest", "0.1")
    assert (crossed.exit_code, "the other way round" in crossed.output) == (2, True)
    useless = lr_find(zoo_folder, "--lowest", "1e-12", "--highest", "1e-11")
    assert (useless.exit_code, "loss falls at no learning rate" in useless.output) == (1, True)
    (tmp_path / "file").touch()
    unwritable = lr_find(zoo_folder, "--plot", tmp_path / "file" / "mood.svg")
    assert (unwritable.exit_code, "cannot be written" in unwritable.output) == (1, True)
