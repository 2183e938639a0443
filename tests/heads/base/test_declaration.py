"""Declarations: what they refuse, and that they need no torch."""

import subprocess
import sys
from typing import Any

import pytest

from heads.base import Classify, Embed, Gate, Head, Multilabel, Regress, Segment, Tag
from heads.base.errors import InvalidHead

MOOD = Classify(labels=("good", "bad"))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Classify(labels=("one",)), "at least 2 names"),
        (lambda: Multilabel(labels=()), "at least 1 names"),
        (lambda: Tag(labels=("a", "a")), "names something twice"),
        (lambda: Tag(labels=("a/b",)), "without '/'"),
        (lambda: Regress(low=1, high=1), "low < high"),
        (lambda: Embed(dim=1), "a dim from 2 to 4,096; got 1"),
        (lambda: Segment(labels=("one",)), "at least 2 names"),
        (lambda: Segment(labels=tuple(map(str, range(256)))), "at most 255 labels"),
        (lambda: Segment(labels=("a", "b"), detail=0), "a detail from 1 to 32; got 0"),
        (lambda: Head(name="h", team="h", task=Embed(dim=8), gate=Gate(bounds={"recall": 1})), "mean 'recall_at_1'"),
        (lambda: Head(name="Mood", team="mood", task=MOOD), "The name of a head is lower case"),
        (lambda: Head(name="mood", team="my team", task=MOOD), "The team of a head is lower case"),
        (lambda: Head(name="mood", team="mood", task=MOOD, attach=-1), "index of a stage from 0 on"),
        (lambda: Head(name="mood", team="mood", task=MOOD, gate=Gate(bounds={"acuracy": 1})), "mean 'accuracy'"),
        (lambda: Head(name="mood", team="mood", task=MOOD, gate=Gate(bounds={"short/f1.god": 1})), "mean 'f1.good'"),
        (lambda: Head(name="mood", team="mood", task=MOOD, gate=Gate(bounds={"accuracy": float("nan")})), "a number"),
        (lambda: Head(name="mood", team="mood", task=MOOD, gate=Gate(bounds={"accuracy": "high"})), "a number"),  # type: ignore[dict-item]
        (lambda: Head(name="mood", team="mood", task=MOOD, attach=True), "got True"),
        (lambda: Regress(low=0, high=float("inf")), "finite"),
        (lambda: Head(name="mood", team="mood", task=MOOD, parity_tolerance=0), "'parity_tolerance' is above 0"),
    ],
)
def test_a_declaration_that_does_not_add_up_is_refused(make: Any, message: str) -> None:
    with pytest.raises(InvalidHead) as caught:
        make()
    assert message in str(caught.value)


def test_a_description_holds_everything_that_was_declared() -> None:
    head = Head(name="u", team="u", task=Regress(low=0, high=10), attach=1, gate=Gate(bounds={"mae": 2.0}))
    assert head.describe() == {
        "name": "u",
        "team": "u",
        "backbone": "minilm",
        "attach": 1,
        "task": {"kind": "regress", "labels": [], "low": 0, "high": 10},
        "gate": {"mae": 2.0},
        "parity_tolerance": 1e-4,
        "variant_tolerance": 0.01,
    }


def test_declaring_and_finding_an_unchanged_build_import_no_torch() -> None:
    code = (
        "import sys, heads.base, heads.base.building.build, heads.base.commands, heads.base.script\n"
        "heavy = {'torch', 'transformers', 'timm', 'onnx', 'onnxruntime'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", 3, "'name' of a head is a text such as 'mood'; got 3"),
        ("backbone", None, "'backbone' of a head is the name of a backbone in the zoo, such as 'minilm'; got None"),
        ("gate", {"macro_f1": 0.8}, "'gate' of a head is a gate such as Gate"),
        ("task", "classify", "'task' of a head is a task such as Classify"),
        ("parity_tolerance", "1e-4", "'parity_tolerance' of a head is a number such as 1e-4; got '1e-4'"),
        ("calibrate", "yes", "'calibrate' of a head is True or False; got 'yes'"),
    ],
)
def test_what_is_of_another_type_is_refused_in_words(key: str, value: Any, message: str) -> None:
    with pytest.raises(InvalidHead) as caught:
        Head(**{"name": "mood", "team": "mood", "task": Classify(labels=("good", "bad")), key: value})
    assert message in str(caught.value)


def test_a_label_that_is_a_number_is_refused() -> None:
    labels: Any = ("good", 3)
    with pytest.raises(InvalidHead, match=r"A label is a name without '/'; got 3"):
        Classify(labels=labels)
