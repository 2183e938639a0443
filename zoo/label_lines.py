"""The lines of a ``labels.jsonl`` to examples, and everything that such a file is refused for."""

import codecs
import difflib
import itertools
import json
import re
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from zoo.errors import InvalidLabels
from zoo.examples import SPLITS, Example, MaskRef, Span, Split, Target

__all__ = ["parse_labels"]

_INPUT_KEYS = ("text", "image")
_TARGET_KEYS = ("label", "labels", "value", "spans", "mask")
_COMMON_KEYS = ("split", "slices")
_DIGEST = re.compile(r"^[0-9a-f]{64}$")


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
        before = data[: error.start]
        number, byte = 1 + before.count(b"\n"), error.start - before.rfind(b"\n")
        raise InvalidLabels(
            f"{where}:{number} is not UTF-8 at byte {byte} of the line. Save the file as UTF-8."
        ) from None
    found = {
        number: _parse_line(line, f"{where}:{number}") for number, line in enumerate(lines, start=1) if line.strip()
    }
    _check_order(found, where)
    _check_leaks(found, where)
    _check_splits(found.values(), where)
    return list(found.values())


def _parse_line(line: str, where: str) -> Example:
    try:
        found = json.loads(line, object_pairs_hook=lambda pairs: _without_repeats(pairs, where))
    except json.JSONDecodeError as error:
        raise InvalidLabels(f"{where} is not JSON: {error.msg} at column {error.colno}.") from None
    except (ValueError, RecursionError) as error:  # thousands of digits, or brackets within brackets
        raise InvalidLabels(f"{where} cannot be read as JSON: {error}. Write one example there.") from None
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
    if value not in SPLITS:
        raise InvalidLabels(f"{where}: the split is {value!r}; expected one of {', '.join(SPLITS)}.")
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
    if not abs(value) <= sys.float_info.max:
        raise InvalidLabels(f"{where}: 'value' is {value!r:.20}; expected a finite number.")
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


def _check_order(found: Mapping[int, Example], where: str) -> None:
    for before, (number, after) in zip(found.values(), itertools.islice(found.items(), 1, None), strict=False):
        if before.id == after.id:
            raise InvalidLabels(
                f"{where}:{number} has the id {after.id!r} twice: so has the line before. Ids name one example each."
            )
        if before.id > after.id:
            raise InvalidLabels(f"{where}:{number} has {after.id!r} after {before.id!r}. Sort the lines by id.")


def _check_leaks(found: Mapping[int, Example], where: str) -> None:
    """Refuse an input that occurs twice, letter case and spaces aside: across splits it would make a gate lie."""
    seen: dict[str, tuple[int, Example]] = {}
    for number, example in found.items():
        key = example.image or " ".join(example.text.casefold().split())
        first, other = seen.setdefault(key, (number, example))
        if other is not example:
            raise InvalidLabels(
                f"{where}:{number} has the same input as line {first}: {example.id!r} ({example.split}) and "
                f"{other.id!r} ({other.split}). Remove one of them."
            )


def _check_splits(examples: Iterable[Example], where: str) -> None:
    present = {example.split for example in examples}
    for split in SPLITS:
        if split not in present:
            raise InvalidLabels(f"{where} has no examples in the split {split}. Give each of {', '.join(SPLITS)} some.")
