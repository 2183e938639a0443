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
    "Meaning",
    "Move",
    "NewReading",
    "Problem",
    "Promotion",
    "Reading",
    "Resolved",
    "Role",
    "Version",
]

Role = Literal["all", "canary", "shadow"]
"""What a version is to an alias: it answers everybody, or a share of the callers, or runs beside what answers."""


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


class Meaning(NamedTuple):
    """What an alias means: numbers of versions of its head."""

    number: int
    """Answers."""
    canary: int = 0
    """Answers ``canary_percent`` of the callers in the place of ``number``; 0 if there is none."""
    canary_percent: int = 0
    shadows: tuple[int, ...] = ()
    """Run beside what answers, to be compared with it."""

    def __str__(self) -> str:
        """Return it for people.

        >>> str(Meaning(6, 7, 10, (8,)))
        '6, 10 % on 7, in the shadow 8'
        """
        canary = f", {self.canary_percent} % on {self.canary}" if self.canary else ""
        shadows = f", in the shadow {', '.join(map(str, self.shadows))}" if self.shadows else ""
        return f"{self.number}{canary}{shadows}"


class AliasState(NamedTuple):
    """Where an alias of a head stands, and how often it has moved."""

    alias: str
    number: int
    epoch: int
    canary: int = 0
    """The version that answers ``canary_percent`` of the callers; 0 if there is none."""
    canary_percent: int = 0
    shadows: tuple[int, ...] = ()
    """The versions that run beside what answers."""

    @property
    def meaning(self) -> Meaning:
        """What it means."""
        return Meaning(self.number, self.canary, self.canary_percent, self.shadows)


@dataclass(frozen=True, slots=True)
class HeadSummary:
    """A head, its newest version's number, and its aliases by name."""

    name: str
    latest_number: int
    aliases: tuple[AliasState, ...]


@dataclass(frozen=True, slots=True)
class Live:
    """What an alias means now."""

    version: Version
    alias: str
    epoch: int
    canary: Version | None = None
    """Answers ``canary_percent`` of the callers in the place of ``version``, if there is one."""
    canary_percent: int = 0
    shadows: tuple[Version, ...] = ()
    """Run beside what answers."""


@dataclass(frozen=True, slots=True)
class Move:
    """One alias to move; with an ``expected_epoch``, only if it has moved exactly that often (0: never).

    As ``all``, the alias means that version alone from then on. As ``canary`` the version gets ``percent`` of the
    callers, in the place of the canary before it, and as ``shadow`` it runs beside what answers; the rest stays.
    """

    head: str
    alias: str
    number: int
    expected_epoch: int | None = None
    role: Role = "all"
    percent: int = 0
    """Of the callers, 1 to 99, for a canary."""


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
    canary: int = 0
    """The version that answers ``canary_percent`` of the callers; 0 if there is none."""
    canary_percent: int = 0
    shadows: tuple[int, ...] = ()
    """The versions that run beside what answers."""

    @property
    def meaning(self) -> Meaning:
        """What the alias means since."""
        return Meaning(self.number, self.canary, self.canary_percent, self.shadows)


class NewReading(NamedTuple):
    """Somebody is about to look at the labels of a test split."""

    head: str
    labels: str
    """Digest of the whole labels file."""
    test_split: str
    """Digest of the test examples alone: it stays while only the others change."""
    build_key: str
    """Of the build that reads, or of the version that is tested."""
    by: str
    reason: str
    number: int = 0
    """The version that is tested; 0 if it is not published yet, as at a gate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One entry of the log of readings. ``id`` rises along the whole log."""

    id: int
    head: str
    labels: str
    test_split: str
    build_key: str
    number: int
    at: datetime
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that ``verify`` found wrong: what is concerned, what kind it is, and what to do."""

    subject: str
    kind: Literal["missing", "corrupt", "mismatch"]
    message: str
