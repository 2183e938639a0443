"""Head packages: which teams there are, and what each declares."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import heads
from heads.base.declaration import Head
from heads.base.errors import InvalidHead, UnknownTeam
from heads.base.recipe import Recipe, read_recipe
from zoo.labels import Labels, read_labels
from zoo.suggest import did_you_mean

__all__ = ["Package", "find_teams", "load_package", "new_package"]


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
        InvalidHead: its ``head.py`` declares no HEAD, or that of another team.
    """
    teams = find_teams()
    if team not in teams:
        raise UnknownTeam(f"There is no head package heads/{team}.{did_you_mean(team, teams)}")
    module = importlib.import_module(f"heads.{team.replace('-', '_')}.head")
    head = getattr(module, "HEAD", None)
    if not isinstance(head, Head):
        raise InvalidHead(
            f"{module.__file__} has no HEAD = Head(...). A head package declares its head under that name."
        )
    if head.team != team:
        raise InvalidHead(f"{module.__file__} declares a head of team {head.team!r}; its folder is that of {team!r}.")
    assert module.__file__ is not None
    return Package(head=head, folder=Path(module.__file__).parent)


def new_package(team: str, template: str) -> Path:
    """Start a team's package as a copy of another, with the other's name replaced in its Python files.

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
    old, new = source.name, folder.name
    for file in sorted(source.iterdir()):
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            changed = text if file.suffix == ".jsonl" else text.replace(old, new).replace(old.title(), new.title())
            (folder / file.name.replace(old, new)).write_text(changed, encoding="utf-8")
    return folder
