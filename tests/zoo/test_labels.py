"""Labels: what parses, what is refused and how it is said, and which commit holds them."""

import json
import math
import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import InvalidLabels
from zoo.labels import MaskRef, Span, git_commit_of, labels_in, parse_labels, read_labels


def line(number: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    values = {"id": f"x-{number:04}", "text": f"text {number}", "split": split, "slices": [], "label": "a"}
    return {**values, **changes}


def encoded(*lines: dict[str, Any]) -> bytes:
    return "".join(json.dumps(each, ensure_ascii=False) + "\n" for each in lines).encode()


def three(**changes: Any) -> bytes:
    return encoded(line(1, **changes), line(2, "valid"), line(3, "test"))


def test_the_test_split_is_not_reachable_from_what_training_sees(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(encoded(line(1), line(2, "valid"), line(3, "test", slices=["short"])))
    labels = read_labels(path)
    seen = labels.for_training()
    assert [example.id for example in (*seen.train, *seen.valid)] == ["x-0001", "x-0002"]
    assert [example.id for example in labels.for_gate()] == ["x-0003"]
    assert labels.for_gate()[0].slices == ("short",)
    assert labels.counts() == {"train": 1, "valid": 1, "test": 1}


@pytest.mark.parametrize(
    ("key", "value", "target"),
    [
        ("labels", ["a", "b"], ("a", "b")),
        ("labels", [], ()),
        ("value", 7, 7.0),
        ("spans", [{"start": 0, "end": 4, "label": "x"}], (Span(0, 4, "x"),)),
    ],
)
def test_each_kind_of_target_becomes_a_value(key: str, value: Any, target: Any) -> None:
    def make(number: int, split: str) -> dict[str, Any]:
        fields = line(number, split)
        del fields["label"]
        return {**fields, key: value}

    examples = parse_labels(encoded(make(1, "train"), make(2, "valid"), make(3, "test")), where="f")
    assert examples[0].kind == key
    assert examples[0].target == target


DIGEST = "0a" * 32


def masked(number: int, split: str = "train", **changes: Any) -> dict[str, Any]:
    values = {"id": f"x-{number}", "image": f"{number:064}", "split": split, "slices": [], "mask": DIGEST}
    return {**values, **changes}


def test_a_mask_is_named_by_its_digest_and_names_no_label_before_it_is_read() -> None:
    target = parse_labels(encoded(masked(1), masked(2, "valid"), masked(3, "test")), where="f")[0].target
    assert target == MaskRef(DIGEST)
    assert labels_in(target) == set()


def test_a_mask_that_is_no_digest_or_belongs_to_a_text_is_refused() -> None:
    for broken in ("mask.png", DIGEST.upper(), 7):
        with pytest.raises(InvalidLabels, match=r"f:1: 'mask' is .* expected the digest of a PNG file"):
            parse_labels(encoded(masked(1, mask=broken)), where="f")
    of_a_text = {"id": "x-1", "text": "a glyph", "split": "train", "slices": [], "mask": DIGEST}
    with pytest.raises(InvalidLabels, match="'mask' is the target of an image"):
        parse_labels(encoded(of_a_text), where="f")


def test_span_offsets_are_code_points() -> None:
    text = "👩‍👩 Ünal"
    spans = [{"start": text.index("Ü"), "end": len(text), "label": "person"}]

    def make(number: int, split: str, text: str, spans: list[Any]) -> dict[str, Any]:
        return {"id": str(number), "text": text, "split": split, "slices": [], "spans": spans}

    data = encoded(make(1, "train", text, spans), make(2, "valid", "b", []), make(3, "test", "c", []))
    target = parse_labels(data, where="f")[0].target
    assert target == (Span(4, 8, "person"),)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"{\n", "f:1 is not JSON"),
        (b"[1]\n", "f:1 is a JSON list; expected an object"),
        (b"{}\na\xff\n", "f:2 is not UTF-8 at byte 2 of the line"),
        (b"9" * 5000, "f:1 cannot be read as JSON: Exceeds the limit"),
        (b"[" * 100_000, "f:1 cannot be read as JSON: maximum recursion depth exceeded"),
        (three(split="dev"), "the split is 'dev'; expected one of train, valid, test"),
        (three(text="  "), "'text' is '  '; expected a text that is not empty"),
        (three(slices="short"), "'slices' is 'short'; expected a list of names"),
        (three(slices=["a", "a"]), "'slices' names something twice"),
        (three(label=""), "'label' is ''; expected a name"),
        (three(note="x"), "unknown key 'note'"),
        (three(labels=["x"]), "expected exactly one"),
        (encoded(line(1), line(2, "valid")), "no examples in the split test"),
        (encoded(line(2), line(1, "valid"), line(3, "test")), "f:2 has 'x-0001' after 'x-0002'. Sort the lines by id"),
        (encoded(line(1), line(1, "valid"), line(3, "test")), "f:2 has the id 'x-0001' twice"),
        (
            encoded(line(1, text="Same  one"), line(2, "valid"), line(3, "test", text="same ONE")),
            "f:3 has the same input as line 1",
        ),
        (encoded(dict(reversed(line(1).items())), line(2, "valid"), line(3, "test")), "expected id, text, split"),
    ],
)
def test_what_does_not_add_up_is_refused_and_named(data: bytes, message: str) -> None:
    with pytest.raises(InvalidLabels) as caught:
        parse_labels(data, where="f")
    assert message in str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf, 10**400])
def test_a_value_that_is_no_finite_number_is_refused_by_line(value: float) -> None:
    fields = {key: each for key, each in line(1).items() if key != "label"}
    with pytest.raises(InvalidLabels, match=r"f:1: 'value' is .{3,25}; expected a finite number"):
        parse_labels(encoded({**fields, "value": value}), where="f")


def test_a_misspelt_key_is_answered_with_the_closest() -> None:
    fields = line(1)
    fields["slice"] = fields.pop("slices")
    with pytest.raises(InvalidLabels, match="has no 'slices'"):
        parse_labels(encoded(fields), where="f")
    with pytest.raises(InvalidLabels, match="Did you mean 'slices'"):
        parse_labels(encoded({**line(1), "slicse": []}), where="f")


@pytest.mark.parametrize(
    ("spans", "message"),
    [
        ([{"start": 0, "end": 99, "label": "x"}], "the text has 6 code points"),
        ([{"start": 3, "end": 3, "label": "x"}], "a span is 3 to 3"),
        ([{"start": 0, "end": 5, "label": "x"}], "begins or ends with a space"),
        ([{"start": 0, "end": 4, "label": "x"}, {"start": 2, "end": 4, "label": "x"}], "overlap"),
        ([{"start": 0, "stop": 4, "label": "x"}], "expected an object with start, end and label"),
        ([{"start": True, "end": 4, "label": "x"}], "whole numbers"),
    ],
)
def test_spans_that_do_not_fit_their_text_are_refused(spans: Any, message: str) -> None:
    fields = {k: v for k, v in line(1).items() if k != "label"}
    with pytest.raises(InvalidLabels) as caught:
        parse_labels(encoded({**fields, "spans": spans}), where="f")
    assert message in str(caught.value)


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_no_bytes_raise_anything_but_invalid_labels(data: bytes) -> None:
    with pytest.raises(InvalidLabels):
        parse_labels(data, where="f")


def test_a_missing_file_says_where_labels_belong(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="A head package keeps them there"):
        read_labels(tmp_path / "labels.jsonl")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", "-C", str(folder), *identity, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_commit_is_the_one_that_holds_exactly_these_bytes(tmp_path: Path) -> None:
    path = tmp_path / "team" / "labels.jsonl"
    path.parent.mkdir()
    path.write_bytes(b"one\n")
    assert git_commit_of(path, b"one\n") is None, "no repository"
    git(tmp_path, "init", "-q")
    assert git_commit_of(path, b"one\n") is None, "no commit"
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    first = git(tmp_path, "rev-parse", "HEAD")
    (tmp_path / "other").write_text("x")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "other")
    assert git_commit_of(path, b"one\n") == first
    path.write_bytes(b"two\n")
    assert git_commit_of(path, b"two\n") is None, "not committed"
    git(tmp_path, "commit", "-qam", "two")
    assert git_commit_of(path, b"two\n") == git(tmp_path, "rev-parse", "HEAD")
    assert git_commit_of(path, b"one\n") == first, "still in the history"


def test_the_commit_is_that_of_the_bytes_that_were_read_even_if_the_file_has_changed_since(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_bytes(three())
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "one")
    first, labels = git(tmp_path, "rev-parse", "HEAD"), read_labels(path)
    path.write_bytes(three(slices=["new"]))
    git(tmp_path, "commit", "-qam", "two")
    assert (labels.commit().commit, labels.commit().digest) == (first, labels.digest)
    path.unlink()
    assert labels.commit().commit == first


def test_labels_that_cannot_be_read_are_refused_and_not_a_crash(tmp_path: Path) -> None:
    with pytest.raises(InvalidLabels, match="cannot be read: Is a directory"):
        read_labels(tmp_path)


def test_a_key_that_is_written_twice_is_refused_and_not_half_ignored() -> None:
    with pytest.raises(InvalidLabels, match=r"f:1 has the key 'label' twice"):
        parse_labels(three().replace(b'"label": "a"}', b'"label": "a", "label": "b"}', 1), where="f")


def test_a_byte_order_mark_is_named_as_what_it_is() -> None:
    with pytest.raises(InvalidLabels, match=r"f begins with a byte order mark. Save it as UTF-8 without one"):
        parse_labels(b"\xef\xbb\xbf" + three(), where="f")
