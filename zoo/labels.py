"""Labels as commits: read and check a ``labels.jsonl``, and name the git commit that holds exactly its bytes.

One JSON object a line, sorted by id, so that diff, blame and review are git's. The test split is not part
of what training sees: it comes out of :meth:`Labels.for_gate` alone.
"""

import codecs
import difflib
import itertools
import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from zoo.digest import digest_bytes, digest_json
from zoo.errors import InvalidLabels
from zoo.manifest import LabelsCommit
from zoo.masks import Mask

__all__ = [
    "Example",
    "LabelSet",
    "Labels",
    "MaskRef",
    "Span",
    "Split",
    "Target",
    "git_commit_of",
    "labels_in",
    "parse_labels",
    "read_labels",
]

Split = Literal["train", "valid", "test"]
"""``train`` fits weights, ``valid`` chooses among them, ``test`` is for the gate alone."""

_SPLITS: tuple[Split, ...] = ("train", "valid", "test")
_INPUT_KEYS = ("text", "image")
_TARGET_KEYS = ("label", "labels", "value", "spans", "mask")
_COMMON_KEYS = ("split", "slices")
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A labelled piece of a text: code points ``start`` to ``end``, ``end`` not included."""

    start: int
    end: int
    label: str


@dataclass(frozen=True, slots=True)
class MaskRef:
    """A mask by the digest of its PNG file in the blob store, where bytes live."""

    digest: str


Target = str | tuple[str, ...] | float | tuple[Span, ...] | MaskRef | Mask | tuple[float, ...]
"""What an example should be answered with: a label, labels, a value, spans or a mask.

A file names a mask; ``Mask`` is what it is once it was read. Numbers are what a head that embeds answers with, in the
place of a label.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One line of labels.

    Attributes:
        id: unique within the file.
        text: the input, or ``""`` if it is an image.
        image: digest of the encoded image in the blob store, or ``""`` if the input is a text.
        split: which part of the work may see it.
        slices: named subsets that it belongs to, for metrics.
        kind: the key of the target: ``label``, ``labels``, ``value``, ``spans`` or ``mask``.
        target: the answer that is wanted, of the type that ``kind`` says.
    """

    id: str
    text: str
    image: str
    split: Split
    slices: tuple[str, ...]
    kind: str
    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """What training may see: no test example is reachable from here."""

    train: tuple[Example, ...]
    valid: tuple[Example, ...]


class Labels:
    """A checked labels file.

    Args:
        examples: every example, of all splits.
        data: the file's bytes.
        path: where it was read.
    """

    def __init__(self, examples: Sequence[Example], *, data: bytes, path: Path) -> None:
        self.digest = digest_bytes(data)
        self.path = path
        self._data = data
        self._examples = tuple(examples)

    def for_training(self) -> LabelSet:
        """Return the train and valid examples, and nothing else."""
        return LabelSet(train=self._of("train"), valid=self._of("valid"))

    def for_gate(self) -> tuple[Example, ...]:
        """Return the test examples. Only a gate may ask: whatever is tuned on them makes the gate a lie."""
        return self._of("test")

    def test_digest(self) -> str:
        """Return the digest of the test examples alone, by which readings of them are counted."""
        return digest_json([asdict(example) for example in self._of("test")])

    def where(self, example_id: str) -> str:
        """Return the file and line of an example, for errors: ``labels.jsonl:12``."""
        lines = enumerate(self._data.decode().split("\n"), start=1)
        number = next(number for number, line in lines if line.strip() and json.loads(line)["id"] == example_id)
        return f"{self.path}:{number}"

    def counts(self) -> dict[str, int]:
        """Return how many examples each split has."""
        found = Counter(example.split for example in self._examples)
        return {split: found[split] for split in _SPLITS}

    def kinds(self) -> set[str]:
        """Return the kinds of target that occur."""
        return {example.kind for example in self._examples}

    def label_names(self) -> set[str]:
        """Return every label that occurs in a target, of any split."""
        return {name for example in self._examples for name in labels_in(example.target)}

    def commit(self) -> LabelsCommit:
        """Return which labels these are, with the git commit that holds exactly these bytes if there is one."""
        # Of the bytes that were read: the file may have changed while the head was trained.
        commit = git_commit_of(self.path, self._data)
        return LabelsCommit(digest=self.digest, commit=commit, examples=self.counts())

    def example_with(self, label: str) -> str:
        """Return the id of the first example that has a label."""
        return next(example.id for example in self._examples if label in labels_in(example.target))

    def gated_slices(self) -> set[str]:
        """Return the names of the slices that test examples are in, so that a gate can be checked before training."""
        return {name for example in self._of("test") for name in example.slices}

    def _of(self, split: Split) -> tuple[Example, ...]:
        return tuple(example for example in self._examples if example.split == split)


def read_labels(path: Path) -> Labels:
    """Read and check the labels file at ``path``.

    Raises:
        InvalidLabels: it is missing, or something in it does not parse or does not add up.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidLabels(
            f"There are no labels at {path}. A head package keeps them there, one JSON a line."
        ) from None
    except OSError as error:
        raise InvalidLabels(f"The labels {path} cannot be read: {error.strerror}.") from error
    return Labels(parse_labels(data, where=str(path)), data=data, path=path)


def parse_labels(data: bytes, *, where: str) -> list[Example]:
    """Return the examples in ``data`` (JSON lines, UTF-8).

    Args:
        data: the bytes of a labels file.
        where: how errors name the file.

    Raises:
        InvalidLabels: a line does not parse, ids repeat or are not sorted, a text is in two splits, or a
            split is empty; the text names the line.

    >>> line = b'{"id": "a-1", "text": "hi", "split": "train", "slices": [], "label": "hello"}'
    >>> parse_labels(line, where="labels.jsonl")
    Traceback (most recent call last):
    zoo.errors.InvalidLabels: labels.jsonl has no examples in the split valid. Give each of train, valid, test some.
    """
    if data.startswith(codecs.BOM_UTF8):
        raise InvalidLabels(f"{where} begins with a byte order mark. Save it as UTF-8 without one.")
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise InvalidLabels(f"{where} is not UTF-8 at byte {error.start}. Save it as UTF-8.") from None
    examples = [_parse_line(line, f"{where}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    _check_order(examples, where)
    _check_leaks(examples, where)
    _check_splits(examples, where)
    return examples


def git_commit_of(path: Path, data: bytes) -> str | None:
    """Return the newest commit, reachable from HEAD, that has exactly ``data`` at ``path``.

    Returns:
        The commit's full hash, or None if there is no git, no repository or no such commit.
    """
    path = path.resolve()
    blob = _git(path.parent, "hash-object", "--stdin", data=data)
    if blob is None:
        return None
    # A commit that changes how often the blob occurs either brought it here or took it away.
    changes = _git(path.parent, "log", "--format=%H", f"--find-object={blob}", "--", path.name)
    for commit in (changes or "").split():
        if _git(path.parent, "rev-parse", "--verify", "--quiet", f"{commit}:./{path.name}") == blob:
            return commit
    return None


def _git(folder: Path, *arguments: str, data: bytes = b"") -> str | None:
    """Run git in ``folder``; return what it printed, or None if it failed or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False)  # noqa: S603 - fixed arguments
    except FileNotFoundError:
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None


def _parse_line(line: str, where: str) -> Example:
    try:
        found = json.loads(line, object_pairs_hook=lambda pairs: _without_repeats(pairs, where))
    except json.JSONDecodeError as error:
        raise InvalidLabels(f"{where} is not JSON: {error.msg} at column {error.colno}.") from None
    if not isinstance(found, dict):
        raise InvalidLabels(f"{where} is a JSON {type(found).__name__}; expected an object, one example a line.")
    source, kind = _one_of(found, _INPUT_KEYS, where), _one_of(found, _TARGET_KEYS, where)
    _check_keys(found, ("id", source, *_COMMON_KEYS, kind), where)
    for key in ("id", source):
        if not isinstance(found[key], str) or not found[key].strip():
            raise InvalidLabels(f"{where}: {key!r} is {found[key]!r}; expected a text that is not empty.")
    return Example(
        id=found["id"],
        text=found.get("text", ""),
        image=found.get("image", ""),
        split=_parse_split(found["split"], where),
        slices=_parse_names(found["slices"], "slices", where),
        kind=kind,
        target=_parse_target(kind, found[kind], found.get("text", ""), where),
    )


def _without_repeats(pairs: Sequence[tuple[str, Any]], where: str) -> dict[str, Any]:
    found = dict(pairs)
    for key, count in Counter(key for key, _ in pairs).items():
        if count > 1:
            raise InvalidLabels(f"{where} has the key {key!r} twice; nobody can tell which one counts. Remove one.")
    return found


def _one_of(found: Mapping[str, Any], keys: Sequence[str], where: str) -> str:
    present = [key for key in keys if key in found]
    if len(present) != 1:
        raise InvalidLabels(f"{where} has {present or 'none'} of the keys {', '.join(keys)}; expected exactly one.")
    return present[0]


def _check_keys(found: Mapping[str, Any], expected: tuple[str, ...], where: str) -> None:
    for key in expected:
        if key not in found:
            raise InvalidLabels(f"{where} has no {key!r}. A line has the keys {', '.join(expected)}, in this order.")
    for key in found:
        if key not in expected:
            close = difflib.get_close_matches(key, expected, n=1)
            hint = f"Did you mean {close[0]!r}?" if close else f"A line has the keys {', '.join(expected)}."
            raise InvalidLabels(f"{where} has the unknown key {key!r}. {hint}")
    if tuple(found) != expected:
        # One order of keys keeps diffs about labels and not about the tool that wrote them.
        raise InvalidLabels(f"{where} has its keys in the order {', '.join(found)}; expected {', '.join(expected)}.")


def _parse_split(value: Any, where: str) -> Split:
    if value not in _SPLITS:
        raise InvalidLabels(f"{where}: the split is {value!r}; expected one of {', '.join(_SPLITS)}.")
    return cast("Split", value)


def _parse_names(value: Any, key: str, where: str) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) and name for name in value):
        raise InvalidLabels(f"{where}: {key!r} is {value!r}; expected a list of names.")
    if len(set(value)) != len(value):
        raise InvalidLabels(f"{where}: {key!r} names something twice: {', '.join(value)}.")
    return tuple(value)


def _parse_target(kind: str, value: Any, text: str, where: str) -> Target:
    if kind == "labels":
        return _parse_names(value, kind, where)
    if kind == "spans":
        return _parse_spans(value, text, where)
    if kind == "mask":
        return _parse_mask(value, text, where)
    if kind == "label":
        if not isinstance(value, str) or not value:
            raise InvalidLabels(f"{where}: 'label' is {value!r}; expected a name.")
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidLabels(f"{where}: 'value' is {value!r}; expected a number.")
    return float(value)


def _parse_mask(value: Any, text: str, where: str) -> MaskRef:
    if text:
        raise InvalidLabels(f"{where}: 'mask' is the target of an image, and the input is a text.")
    if not isinstance(value, str) or not _DIGEST.match(value):
        raise InvalidLabels(
            f"{where}: 'mask' is {value!r}; expected the digest of a PNG file in the zoo, 64 hexadecimal digits."
        )
    return MaskRef(value)


def _parse_spans(value: Any, text: str, where: str) -> tuple[Span, ...]:
    if not isinstance(value, list):
        raise InvalidLabels(f"{where}: 'spans' is {value!r}; expected a list of objects.")
    spans = tuple(_parse_span(item, text, where) for item in value)
    for before, after in itertools.pairwise(spans):
        if after.start < before.end:
            raise InvalidLabels(
                f"{where}: the spans {before} and {after} overlap or are not in order; sort them by start."
            )
    return spans


def _parse_span(item: Any, text: str, where: str) -> Span:
    if not isinstance(item, dict) or set(item) != {"start", "end", "label"}:
        raise InvalidLabels(f"{where}: a span is {item!r}; expected an object with start, end and label.")
    start, end, label = item["start"], item["end"], item["label"]
    if type(start) is not int or type(end) is not int or not isinstance(label, str):
        raise InvalidLabels(f"{where}: a span is {item!r}; start and end are whole numbers and label is a name.")
    if not 0 <= start < end <= len(text):
        raise InvalidLabels(f"{where}: a span is {start} to {end}; the text has {len(text)} code points.")
    if text[start:end] != text[start:end].strip():
        raise InvalidLabels(f"{where}: the span {text[start:end]!r} begins or ends with a space; leave it out.")
    return Span(start, end, label)


def labels_in(target: Target) -> set[str]:
    """Return the labels that a target names; a value has none, and a mask names its own only once it was read."""
    if isinstance(target, str):
        return {target}
    if isinstance(target, tuple):
        named = (item.label if isinstance(item, Span) else item for item in target)
        return {name for name in named if isinstance(name, str)}
    return set()


def _check_order(examples: Sequence[Example], where: str) -> None:
    for before, after in itertools.pairwise(examples):
        if before.id == after.id:
            raise InvalidLabels(f"{where} has the id {after.id!r} twice. Ids name one example each.")
        if before.id > after.id:
            raise InvalidLabels(f"{where} has {after.id!r} after {before.id!r}. Sort the lines by id.")


def _check_leaks(examples: Sequence[Example], where: str) -> None:
    """Refuse an input that occurs twice, letter case and spaces aside: across splits it would make a gate lie."""
    seen: dict[str, Example] = {}
    for example in examples:
        key = example.image or " ".join(example.text.casefold().split())
        other = seen.setdefault(key, example)
        if other is not example:
            raise InvalidLabels(
                f"{where} has the same input in {other.id!r} ({other.split}) and {example.id!r} ({example.split}). "
                "Remove one of them."
            )


def _check_splits(examples: Sequence[Example], where: str) -> None:
    present = {example.split for example in examples}
    for split in _SPLITS:
        if split not in present:
            raise InvalidLabels(
                f"{where} has no examples in the split {split}. Give each of {', '.join(_SPLITS)} some."
            )
