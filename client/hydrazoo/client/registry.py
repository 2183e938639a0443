"""The zoo as the client sees it: heads, versions, aliases and their history."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hydrazoo.registry.v1 import registry_pb2 as pb

__all__ = [
    "Alias",
    "Head",
    "Promotion",
    "Resolved",
    "Version",
    "decode_head",
    "decode_promotion",
    "decode_resolved",
    "decode_version",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Alias:
    """A movable name, the version that it means, and how often it has moved.

    A canary, if it is not 0, answers ``canary_percent`` of the callers; ``shadows`` run beside what answers.
    """

    name: str
    number: int
    epoch: int
    canary: int = 0
    canary_percent: int = 0
    shadows: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A head, its newest version's number, and its aliases by name."""

    name: str
    latest_number: int
    aliases: tuple[Alias, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable version; ``digest`` is its manifest's, ``path_digest`` its path of stages'."""

    head: str
    number: int
    digest: str
    path_digest: str
    created_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resolved:
    """What a reference means now; ``alias`` is empty and ``alias_epoch`` 0 if it named none."""

    version: Version
    alias: str
    alias_epoch: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One move of an alias: since then it means version ``number``, with its canary and its shadows."""

    alias: str
    epoch: int
    number: int
    at: datetime
    by: str
    reason: str
    canary: int = 0
    canary_percent: int = 0
    shadows: tuple[int, ...] = ()


def decode_head(message: pb.Head) -> Head:
    """Read a head."""
    return Head(name=message.name, latest_number=message.latest_number, aliases=_aliases(message.aliases))


def _aliases(messages: Sequence[pb.Alias]) -> tuple[Alias, ...]:
    return tuple(
        Alias(
            name=alias.name,
            number=alias.number,
            epoch=alias.epoch,
            canary=alias.canary,
            canary_percent=alias.canary_percent,
            shadows=tuple(alias.shadows),
        )
        for alias in messages
    )


def decode_version(message: pb.Version) -> Version:
    """Read a version."""
    return Version(
        head=message.head,
        number=message.number,
        digest=message.digest,
        path_digest=message.path_digest,
        created_at=message.created_at.ToDatetime(UTC),
        created_by=message.created_by,
    )


def decode_resolved(message: pb.ResolveResponse) -> Resolved:
    """Read what a reference means."""
    version = decode_version(message.version)
    return Resolved(version=version, alias=message.alias, alias_epoch=message.alias_epoch)


def decode_promotion(message: pb.Promotion) -> Promotion:
    """Read a promotion."""
    return Promotion(
        alias=message.alias,
        epoch=message.epoch,
        number=message.number,
        at=message.at.ToDatetime(UTC),
        by=message.by,
        reason=message.reason,
        canary=message.canary,
        canary_percent=message.canary_percent,
        shadows=tuple(message.shadows),
    )
