"""A recipe file with some values changed and every other character left alone, and a diff of the two."""

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

from heads.base.errors import InvalidRecipe

__all__ = ["Value", "difference", "edited", "write_recipe"]

Value = bool | int | float | str
"""What a flat recipe holds. (Arrays, such as ``augment``, are never changed.)"""

_SCALAR = r"""(?P<value>"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|[^\s#"'\[{]+)"""


def edited(text: str, changes: Mapping[str, Value], *, where: str = "recipe.toml") -> str:
    r"""Return a recipe's text with some keys set. Comments, order and lines that do not change stay as they are.

    Args:
        text: a flat TOML document.
        changes: values by key. A key that is not there yet is added at the end.
        where: how errors name the file.

    Raises:
        InvalidRecipe: the text is not TOML, or writes one of these keys in a form that is not one line of its own.

    >>> print(edited("epochs = 3  # few\n", {"epochs": 4, "pool": "mean"}), end="")
    epochs = 4  # few
    pool = "mean"
    """
    try:
        before = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidRecipe(f"{where} is not TOML: {error}.") from None
    changed = {key: value for key, value in changes.items() if not _same(before.get(key), value)}
    for key, value in changed.items():
        text = _replaced(text, key, _toml(value)) if key in before else _added(text, f"{key} = {_toml(value)}")
    try:
        done = tomllib.loads(text) == before | changed
    except tomllib.TOMLDecodeError:
        done = False
    if not done:
        lines = ", ".join(f"{key} = {_toml(value)}" for key, value in changed.items())
        raise InvalidRecipe(
            f"{where} cannot be changed line by line: expected each key on a line of its own, as `epochs = 40`. "
            f"Write it by hand: {lines}."
        )
    return text


def difference(before: str, after: str, *, name: str) -> str:
    """Return a unified diff of two texts of one file, or nothing if they are equal."""
    lines = difflib.unified_diff(
        before.splitlines(keepends=True), after.splitlines(keepends=True), fromfile=f"a/{name}", tofile=f"b/{name}"
    )
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def write_recipe(path: Path, changes: Mapping[str, Value]) -> None:
    """Set keys of the recipe at ``path``; a file that is not there is made. It changes as a whole or not at all."""
    text = path.read_bytes().decode("utf-8") if path.exists() else ""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(edited(text, changes, where=str(path)).encode("utf-8"))
    new.replace(path)


def _replaced(text: str, key: str, value: str) -> str:
    line = re.compile(rf"""(?m)^(?P<start>[ \t]*(?:{re.escape(key)}|"{key}"|'{key}')[ \t]*=[ \t]*){_SCALAR}""")
    return line.sub(lambda found: found["start"] + value, text, count=1)


def _added(text: str, line: str) -> str:
    end = "\r\n" if "\r\n" in text else "\n"
    return text + (end if text and not text.endswith("\n") else "") + line + end


def _same(found: object, value: Value) -> bool:
    """Say whether two values are one in a recipe; there 1 is no truth, but may stand for 1.0."""
    return found == value and isinstance(found, bool) == isinstance(value, bool)


def _toml(value: Value) -> str:
    return json.dumps(value) if isinstance(value, bool | str) else repr(value)
