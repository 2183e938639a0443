"""``zoo head check``, ``zoo head test`` and ``zoo readings`` as a person runs them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from heads.base.commands.check import check
from heads.base.commands.test import test as run_tests
from tests.support.head_packages import TeamFolder, among_the_teams, mood_lines
from zoo import Zoo
from zoo.commands.readings import readings
from zoo.registry import NewReading

HEAD_PY = """from heads.base import Classify, Head
HEAD = Head(name="mood", team="mood", backbone="tiny", task=Classify(labels=("good", "bad")))
"""


def run(command: object, *arguments: object) -> Result:
    return CliRunner().invoke(command, [str(argument) for argument in arguments])  # type: ignore[arg-type]


@pytest.fixture
def mood(tmp_path: Path) -> Iterator[TeamFolder]:
    with among_the_teams(TeamFolder(tmp_path / "more_heads" / "mood"), head=HEAD_PY) as team:
        yield team


def test_labels_without_fault_pass_and_wrong_ones_are_listed(mood: TeamFolder, zoo_folder: Path) -> None:
    lines = mood_lines()
    result = run(check, "mood", "--zoo", zoo_folder, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)[0]["team"] == "mood"
    flipped = {**lines[0], "label": "bad"}
    mood.write_labels([flipped, *lines[1:]])
    (team,) = json.loads(run(check, "mood", "--zoo", zoo_folder, "--json").stdout)
    assert ["mood-0000"] in [each["ids"] for each in team["findings"] if each["kind"] == "suspicious label"]


def test_what_preprocessing_makes_equal_is_a_duplicate_between_splits(mood: TeamFolder, zoo_folder: Path) -> None:
    lines = mood_lines()
    unknown = [{**lines[0], "text": "w1 w1 strange"}, {**lines[6], "text": "w1 w1 odd"}]  # the tokenizer knows neither
    mood.write_labels([unknown[0], *lines[1:6], unknown[1], *lines[7:]])
    result = run(check, "mood", "--zoo", zoo_folder)
    assert result.exit_code == 1
    assert "mood-0000 (train), mood-0006 (test) are one input after preprocessing" in result.stdout
    assert "1 error in labels; a head should not be trained" in result.stderr


def test_near_duplicates_are_warnings_and_with_strict_errors(mood: TeamFolder, zoo_folder: Path) -> None:
    relaxed = run(check, "mood", "--zoo", zoo_folder, "--near", "0.2", "--json")
    assert relaxed.exit_code == 0
    kinds = {each["kind"] for each in json.loads(relaxed.stdout)[0]["findings"]}
    assert "near duplicate" in kinds
    assert run(check, "mood", "--zoo", zoo_folder, "--near", "0.2", "--strict").exit_code == 1


def test_without_a_zoo_the_file_is_checked_and_what_is_left_out_is_said(mood: TeamFolder, tmp_path: Path) -> None:
    result = run(check, "mood", "--zoo", tmp_path / "nothing")
    assert result.exit_code == 0, result.output
    assert "not checked" in result.stdout
    assert "There is no zoo in" in result.stdout
    assert "not checked" not in run(check, "mood", "--file-only").stdout


def test_readings_are_shown_with_the_version_that_came_of_them(zoo: Zoo, zoo_folder: Path) -> None:
    first = NewReading("mood", "a" * 64, "b" * 64, "c" * 64, "ann", "gate")
    for new in (first, first._replace(test_split="d" * 64), first._replace(test_split="d" * 64, number=2, by="ben")):
        zoo.log_reading(new)
    shown = run(readings, "mood", "--zoo", zoo_folder)
    assert "mood: 2 readings since the test split last changed" in shown.stdout
    assert "none, build cccccccccccc" in shown.stdout
    found = json.loads(run(readings, "mood", "--zoo", zoo_folder, "--json").stdout)
    assert found["since_the_split_changed"] == 2
    assert [(each["by"], each["version"]) for each in found["readings"]] == [
        ("ben", "mood@2"),
        ("ann", ""),
        ("ann", ""),
    ]


def test_readings_of_an_unknown_head_are_an_error(zoo_folder: Path) -> None:
    result = run(readings, "nobody", "--zoo", zoo_folder)
    assert "There is no head 'nobody' in the zoo" in str(result.exception)


def test_a_version_and_a_fresh_one_exclude_each_other() -> None:
    assert run(run_tests, "intent", "--fresh", "--version", "7").exit_code == 2


def test_the_sample_teams_own_tests_hold_for_what_they_built(sample_zoo: Path) -> None:
    result = run(run_tests, "intent", "urgency", "--zoo", sample_zoo, "--json")
    assert result.exit_code == 0, result.output
    for outcome in json.loads(result.stdout):
        assert outcome["version"].endswith("@1")
        assert (outcome["failed"], outcome["skipped"]) == ([], 0)
        assert outcome["passed"] >= 9


def test_a_version_that_is_not_there_is_an_error_before_any_test_runs(sample_zoo: Path) -> None:
    result = run(run_tests, "intent", "--version", "77", "--zoo", sample_zoo)
    assert "Head 'intent' has no version or alias '77'" in str(result.exception)
