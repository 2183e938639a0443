"""Head packages: which teams there are, and what each declares."""

import importlib
import re
import traceback
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from types import ModuleType

import heads
from heads.base import declaration
from heads.base.declaration import Head
from heads.base.errors import HeadsError, InvalidHead, UnknownTeam
from heads.base.recipe import Recipe, read_recipe
from zoo.labels import Labels, read_labels
from zoo.suggest import did_you_mean

__all__ = ["Package", "find_teams", "load_package", "new_package"]

_UNKNOWN_KEY = re.compile(r"(\w+)\.__init__\(\) got an unexpected keyword argument '(\w+)'")


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A team's head package: its declaration, and the folder with its labels and recipe."""

    head: Head
    folder: Path

    def labels(self) -> Labels:
        """Read and check ``labels.jsonl``."""
        return read_labels(self.folder / "labels.jsonl")

    def recipe(self) -> Recipe:
        """Read ``recipe.toml``."""
        return read_recipe(self.folder / "recipe.toml")


def find_teams() -> list[str]:
    """Return the names of the head packages that are installed: folders of ``heads`` with a ``head.py``."""
    found = {file.parent.name for folder in heads.__path__ for file in Path(folder).glob("*/head.py")}
    return sorted(name.replace("_", "-") for name in found - {"base"})


def load_package(team: str) -> Package:
    """Return the package of a team, ``heads/<team>`` ('-' in a team's name is '_' in its folder's).

    Raises:
        UnknownTeam: there is no such package.
        InvalidHead: its ``head.py`` does not import, or declares no HEAD, or that of another team.
    """
    teams = find_teams()
    if team not in teams:
        raise UnknownTeam(f"There is no head package heads/{team}.{did_you_mean(team, teams)}")
    module = _import_head(team)
    head = getattr(module, "HEAD", None)
    if not isinstance(head, Head):
        raise InvalidHead(
            f"{module.__file__} has no HEAD = Head(...). A head package declares its head under that name."
        )
    if head.team != team:
        raise InvalidHead(f"{module.__file__} declares a head of team {head.team!r}; its folder is that of {team!r}.")
    assert module.__file__ is not None
    return Package(head=head, folder=Path(module.__file__).parent)


def _import_head(team: str) -> ModuleType:
    name = f"heads.{team.replace('-', '_')}.head"
    try:
        return importlib.import_module(name)
    except HeadsError:
        raise
    except Exception as error:  # whatever a team's code raises
        lines = [
            frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename.endswith("head.py")
        ]
        line = error.lineno if isinstance(error, SyntaxError) else next(iter(lines), "?")
        raise InvalidHead(
            f"heads/{team.replace('-', '_')}/head.py cannot be imported, line {line}: {_explained(error)} "
            f"`python -m {name}` shows the whole traceback."
        ) from error


def _explained(error: Exception) -> str:
    """Return what an error says; of an unknown key of a declaration, also which key is the closest."""
    unknown = _UNKNOWN_KEY.search(str(error))
    declared = getattr(declaration, unknown[1], None) if unknown else None
    if unknown is None or not is_dataclass(declared):
        return f"{type(error).__name__}: {error}."
    return f"{unknown[1]} has no {unknown[2]!r}.{did_you_mean(unknown[2], [field.name for field in fields(declared)])}"


def new_package(team: str, template: str) -> Path:
    """Start a team's package as a copy of another, with the other's name replaced in all its files but the labels.

    Args:
        team: the new team, also the name of its head.
        template: the team whose package is copied.

    Returns:
        The new folder.

    Raises:
        UnknownTeam: there is no such template.
        InvalidHead: the name is not one, or is taken.
    """
    source = load_package(template).folder
    Head(name=team, team=team, task=load_package(template).head.task)  # refuses what is no name
    folder = source.parent / team.replace("-", "_")
    if folder.exists():
        raise InvalidHead(f"{folder} is there already. Choose another name, or edit that package.")
    folder.mkdir()
    # As a word of its own, or of a name such as test_intent; "two_intents" is a slice, and means something else.
    old, new = re.compile(rf"(?<![a-z0-9]){source.name}(?![a-z0-9_])", re.IGNORECASE), folder.name
    for file in sorted(source.iterdir()):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            changed = text if file.suffix == ".jsonl" else old.sub(lambda found: _like(found[0], new), text)
            (folder / old.sub(new, file.name)).write_text(changed, encoding="utf-8")
    return folder


def _like(old: str, new: str) -> str:
    return new.capitalize() if old[0].isupper() else new
