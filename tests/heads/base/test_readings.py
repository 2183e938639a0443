"""The test split is a black box: training never sees its labels, and whoever reads them is on record."""

import ast
from pathlib import Path
from typing import Any

import pytest

from heads.base.building.build import build_head
from heads.base.readings import read_test_split
from tests.support.head_packages import TeamFolder, mood_lines
from zoo import Zoo
from zoo.errors import GateMissed
from zoo.labels import LabelSet

ROOT = Path(__file__).parents[3]
READERS = {"heads/base/fit.py", "heads/base/readings.py", "heads/base/testing/labels.py"}
"""The range of values is checked in `fit`, what labels files must be in `testing/labels`; both before any training."""


def flipped(line: dict[str, Any]) -> dict[str, Any]:
    return line if line["split"] != "test" else {**line, "label": {"good": "bad", "bad": "good"}[line["label"]]}


def test_the_gate_logs_that_it_reads_the_test_split_and_only_when_it_does(zoo: Zoo, team: TeamFolder) -> None:
    build = build_head(zoo, team.package, by="ann")
    (reading,) = zoo.readings("mood")
    assert (reading.by, reading.reason, reading.number) == ("ann", "gate", 0)
    assert reading.build_key == build.version.build_key
    assert reading.labels == zoo.manifest(build.version).labels.digest
    assert "its test split was read once since it last changed" in build.notes
    assert build_head(zoo, team.package, by="ben").status == "unchanged"
    assert len(zoo.readings("mood")) == 1, "what is not built again is not read again"


def test_a_missed_gate_is_a_reading_too_and_says_how_many_there_were(zoo: Zoo, team: TeamFolder) -> None:
    team.bounds = {"accuracy": 1.01}
    for number in (1, 2):
        with pytest.raises(GateMissed, match=f"This was reading {number} of it since it last changed"):
            build_head(zoo, team.package, by="ann")
    assert len(zoo.readings("mood")) == 2


def test_only_a_change_of_the_test_split_itself_begins_the_count_again(zoo: Zoo, team: TeamFolder) -> None:
    def count() -> int:
        labels = team.package.labels()
        return read_test_split(zoo, "mood", labels, by="ann", reason="a look", build_key="").readings

    lines = mood_lines()
    assert count() == 1
    team.write_labels([line | ({"slices": ["new"]} if line["split"] == "train" else {}) for line in lines])
    assert count() == 2
    team.write_labels([flipped(line) for line in lines])
    assert count() == 1


def test_what_training_is_given_holds_no_test_example(team: TeamFolder) -> None:
    given = team.package.labels().for_training()
    assert isinstance(given, LabelSet)
    assert {example.split for example in (*given.train, *given.valid)} == {"train", "valid"}
    assert LabelSet.__slots__ == ("train", "valid"), "there is no way from here to the file"


def test_library_and_recipes_reach_the_test_labels_in_one_place() -> None:
    """Whoever needs them asks ``read_test_split``, which logs it."""
    callers = set()
    for file in [*(ROOT / "heads").rglob("*.py"), *(ROOT / "backbone").rglob("*.py")]:
        names = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        if "for_gate" in names and not file.name.startswith("test_"):
            callers.add(file.relative_to(ROOT).as_posix())
    assert callers <= READERS


def test_a_reading_is_logged_before_the_labels_are_handed_out(zoo: Zoo, team: TeamFolder) -> None:
    class Full(Zoo):
        def log_reading(self, new: Any) -> Any:
            raise OSError("no space left")

    full = Full(zoo.registry, zoo.blobs, zoo.features)
    with pytest.raises(OSError, match="no space"):
        read_test_split(full, "mood", team.package.labels(), by="ann", reason="a look", build_key="")
