import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from heads.base import Classify, Gate, Head, Regress
from heads.base.testing import ExpectationMissed, labels_hold
from heads.base.testing.findings import Finding
from heads.base.testing.labels import examine_labels
from heads.intent.head import HEAD as INTENT
from tests.support.head_packages import mood_lines
from zoo.labels import Labels, read_labels

MOOD = Head(name="mood", team="mood", task=Classify(labels=("good", "bad")), gate=Gate(bounds={"short/accuracy": 0.5}))

Write = Callable[[list[dict[str, Any]]], Labels]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(lines: list[dict[str, Any]]) -> Labels:
        file = tmp_path / "labels.jsonl"
        file.write_text("".join(json.dumps(line) + "\n" for line in sorted(lines, key=lambda line: line["id"])))
        return read_labels(file)

    return write


def found(findings: list[Finding], kind: str) -> list[Finding]:
    return [each for each in findings if each.kind == kind]


def line(number: int, text: str, split: str, label: str = "good") -> dict[str, Any]:
    return {"id": f"zz-{number}", "text": text, "split": split, "slices": [], "label": label}


def test_labels_without_fault_have_no_findings(write: Write) -> None:
    assert examine_labels(MOOD, write(mood_lines()), train=20, test=10) == []


def test_a_gate_on_a_slice_of_few_examples_is_a_warning(write: Write) -> None:
    lines = [each | ({"slices": []} if number % 16 != 6 else {}) for number, each in enumerate(mood_lines())]
    (warning,) = examine_labels(MOOD, write(lines))
    assert (warning.severity, warning.text.startswith("the slice 'short' has ")) == ("warning", True)


def test_a_text_in_two_splits_is_found_whatever_its_casing_and_punctuation(write: Write) -> None:
    twice = [line(1, "Where's my parcel?!", "train"), line(2, "WHERES MY — parcel", "test")]
    for near in ("error", "warning"):
        (one,) = found(examine_labels(MOOD, write([*mood_lines(), *twice]), near=near), "twice")
        assert (one.severity, one.ids) == (near, ("zz-1", "zz-2"))
        assert "zz-1 (train), zz-2 (test)" in one.text


def test_the_same_text_twice_in_one_split_is_no_leak(write: Write) -> None:
    same = [line(1, "Where is it?", "train"), line(2, "where is it", "train")]
    assert found(examine_labels(MOOD, write([*mood_lines(), *same])), "twice") == []


def test_a_label_with_too_few_examples_is_an_error_that_names_them(write: Write) -> None:
    head = Head(name="mood", team="mood", task=Classify(labels=("good", "bad", "odd")))
    labels = write([*mood_lines(), line(1, "strange", "train", "odd"), line(2, "weird", "train", "odd")])
    findings = examine_labels(head, labels, train=3)
    errors = [each for each in found(findings, "few examples") if each.severity == "error"]
    assert [each.ids for each in errors] == [("zz-1", "zz-2"), ()]
    assert "'odd' has 2 train examples, expected at least 3" in errors[0].text
    assert "'odd' has 0 test examples, expected at least 1" in errors[1].text


def test_a_label_without_a_valid_example_is_a_warning(write: Write) -> None:
    lines = [each for each in mood_lines() if not (each["split"] == "valid" and each["label"] == "bad")]
    (warning,) = [each for each in examine_labels(MOOD, write(lines)) if "no valid example" in each.text]
    assert warning.severity == "warning"


def test_each_quarter_of_a_scale_counts_as_a_label_does(write: Write) -> None:
    values = [
        {key: each[key] for key in ("id", "text", "split", "slices")} | {"value": 9.0 if each["label"] == "good" else 1}
        for each in mood_lines()
    ]
    head = Head(name="mood", team="mood", task=Regress(low=0, high=10))
    errors = [each.text for each in examine_labels(head, write(values)) if each.severity == "error"]
    assert len(errors) == 4, "two quarters, train and test"
    assert errors[0].startswith("'2.5 to 5' has 0 train examples")


def test_an_id_inside_its_text_is_an_error_and_one_that_names_the_label_a_note(write: Write) -> None:
    lines = [*mood_lines(), line(1, "Ticket zz-1 is open.", "train"), line(2, "w5", "train") | {"id": "zz-good-2"}]
    findings = examine_labels(MOOD, write(lines))
    assert [(each.severity, each.ids) for each in found(findings, "id in input")] == [("error", ("zz-1",))]
    (note,) = found(findings, "id names label")
    assert (note.severity, "1 of 82 ids" in note.text) == ("note", True)


def test_the_labels_of_a_team_hold_and_asking_for_too_much_of_them_says_what_is_missing() -> None:
    labels_hold(INTENT, train=40, test=10, slices=["sarcasm"])
    with pytest.raises(
        ExpectationMissed, match=r"labels\.jsonl:(?s:.*)'refund' has \d+ train examples, expected at least"
    ):
        labels_hold(INTENT, train=1000)
    with pytest.raises(ExpectationMissed, match="the slice 'irony' has 0 test examples"):
        labels_hold(INTENT, slices=["irony"])
