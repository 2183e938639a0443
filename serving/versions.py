"""The versions that a server answers with, and what the aliases of their heads stand for."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

from serving.traffic import share_of
from zoo.manifest import VersionManifest

__all__ = ["AliasTarget", "Precision", "ServedVersion"]

Precision = Literal["fp32", "int8", "fp16"]
"""What a version computes in; the stages of its path that have no such form run as fp32."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ServedVersion:
    """A version of a head that the server answers with, and the aliases under which it does.

    ``digest`` and ``preprocessing`` (the digest of the declared preprocessing) are those of ``manifest``, kept
    because taking a digest of a manifest is work.
    """

    head: str
    number: int
    digest: str
    preprocessing: str
    manifest: VersionManifest
    aliases: Mapping[str, int]
    """Alias to epoch: how often it had moved when the plan was built. Those that lead here as canary are not among."""
    precision: Precision = "fp32"

    def __str__(self) -> str:
        return f"{self.head}@{self.number}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class AliasTarget:
    """What an alias of a head stands for."""

    head: str
    alias: str
    epoch: int
    live: ServedVersion
    """Answers."""
    canary: ServedVersion | None = None
    """Answers ``canary_percent`` of the callers in the place of ``live``, if there is one."""
    canary_percent: int = 0
    shadows: tuple[ServedVersion, ...] = ()
    """Run on what ``live`` runs on, to be compared with it; none of them answers."""

    def side(self, routing_key: str) -> ServedVersion:
        """Return the version that answers whoever asks with this key."""
        if self.canary is None:
            return self.live
        on_canary = share_of(self.head, self.alias, routing_key) * 100 < self.canary_percent
        return self.canary if on_canary else self.live

    def versions(self) -> tuple[ServedVersion, ...]:
        """Return every version that runs under the alias, the one that answers first."""
        return (self.live, *((self.canary,) if self.canary else ()), *self.shadows)

    def over(self, versions: Mapping[str, ServedVersion]) -> "AliasTarget":
        """Return the same over other values of the same versions, by digest."""
        if all(versions[version.digest] is version for version in self.versions()):
            return self
        return replace(
            self,
            live=versions[self.live.digest],
            canary=versions[self.canary.digest] if self.canary else None,
            shadows=tuple(versions[shadow.digest] for shadow in self.shadows),
        )
