"""What the registry returns and takes: frozen values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from zoo.manifest import BackboneManifest

__all__ = [
    "AliasState",
    "Backbone",
    "BackboneRow",
    "HeadSummary",
    "Live",
    "Move",
    "Problem",
    "Promotion",
    "Resolved",
    "Version",
]


@dataclass(frozen=True, slots=True)
class Version:
    """One immutable version of a head; its digest is that of its manifest."""

    head: str
    number: int
    digest: str
    path_digest: str
    build_key: str
    created_at: datetime
    created_by: str

    def __str__(self) -> str:
        return f"{self.head}@{self.number}"


@dataclass(frozen=True, slots=True)
class Backbone:
    """One immutable version of a shared backbone; its digest is that of its manifest."""

    name: str
    number: int
    digest: str
    manifest: BackboneManifest

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


class BackboneRow(NamedTuple):
    """A backbone as the registry keeps it; its manifest is a blob."""

    name: str
    number: int
    digest: str


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a reference means now; ``alias`` is empty and ``epoch`` 0 where no alias was involved."""

    version: Version
    alias: str
    epoch: int


class AliasState(NamedTuple):
    """Where an alias of a head stands, and how often it has moved."""

    alias: str
    number: int
    epoch: int


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """A head, its newest version's number, and its aliases by name."""

    name: str
    latest_number: int
    aliases: tuple[AliasState, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """A version that an alias means now."""

    version: Version
    alias: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Move:
    """One alias to move; with an ``expected_epoch``, only if it has moved exactly that often (0: never)."""

    head: str
    alias: str
    number: int
    expected_epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Promotion:
    """One entry of the promotion log. ``id`` rises along the whole log, ``epoch`` along one alias."""

    id: int
    head: str
    alias: str
    epoch: int
    number: int
    digest: str
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``verify`` found wrong: what is concerned, what kind it is, and what to do."""

    subject: str
    kind: Literal["missing", "corrupt", "mismatch"]
    message: str
