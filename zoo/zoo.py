"""The zoo: immutable versions of heads, the stages they are paths of, and the aliases that make them live."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self, TypeVar

from pydantic import ValidationError
from sqlalchemy import URL

from zoo.blobs import BlobStore
from zoo.errors import IncompatibleSchema, InvalidConfig, InvalidManifest, InvalidReference, NotFound, Unavailable
from zoo.features import FeatureCache
from zoo.manifest import BackboneManifest, StageManifest, StageRef, VersionManifest
from zoo.publishing import check_version, needed_blobs
from zoo.record import Record
from zoo.references import Reference, check_alias, parse_reference
from zoo.registry.engine import bring_up_to_date, check_schema, make_engine, no_zoo
from zoo.registry.records import (
    Backbone,
    HeadSummary,
    Live,
    Move,
    NewReading,
    Problem,
    Promotion,
    Reading,
    Resolved,
    Version,
)
from zoo.registry.registry import Registry
from zoo.suggest import did_you_mean
from zoo.verification import ignore_progress, verify_zoo

__all__ = ["Zoo"]

_RecordT = TypeVar("_RecordT", bound=Record)

DATABASE_FILE = "zoo.sqlite"
FEATURES_FILE = "features.sqlite"
DEFAULT_ALIAS = "prod"
"""What a head's name alone means, where that alias exists."""


class Zoo:
    """A registry, a blob store and a feature cache; made by ``Zoo.open``.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, Zoo.open(folder, create=True) as zoo:
    ...     zoo.heads()
    []
    """

    def __init__(self, registry: Registry, blobs: BlobStore, features: FeatureCache) -> None:
        self.registry = registry
        self.blobs = blobs
        self.features = features

    @classmethod
    def open(cls, location: str | Path, *, create: bool = False, database_url: str = "", blobs_url: str = "") -> "Zoo":
        """Open the zoo in a folder.

        Args:
            location: the folder; it holds whatever the two URLs do not put elsewhere, and the feature cache.
            create: make the zoo if there is none.
            database_url: a SQLAlchemy URL of the registry; empty for a SQLite file in the folder.
            blobs_url: an object store's URL; empty for files in the folder.

        Raises:
            NotFound: there is no zoo, and ``create`` is false.
            IncompatibleSchema: a newer release made it.
        """
        folder = Path(location)
        if create:
            _make_folder(folder)
        registry = _open_registry(folder, database_url, create=create)
        blobs = BlobStore.at_url(blobs_url) if blobs_url else BlobStore.in_folder(folder)
        return cls(registry, blobs, FeatureCache(folder / FEATURES_FILE))

    def close(self) -> None:
        """Close the registry and the feature cache."""
        self.registry.close()
        self.features.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_stage(self, manifest: StageManifest) -> StageRef:
        """Add a stage whose exported forms are in the blob store already.

        Returns:
            How a path lists it. A stage of the same digest that is there already is kept, with its exports.

        Raises:
            InvalidManifest: a blob that the manifest names is not stored.
        """
        if stored := self.registry.stage(manifest.digest):
            if stored.manifest == manifest.content_digest():
                self.blobs.put(manifest.to_json())  # heals it, if it was damaged or lost
            return stored
        self._require_blobs(f"Stage {manifest.name!r}", (artifact.blob for artifact in manifest.artifacts.values()))
        ref = StageRef(name=manifest.name, digest=manifest.digest, manifest=self.blobs.put(manifest.to_json()))
        return self.registry.add_stage(ref, manifest)

    def stage(self, digest: str) -> StageManifest:
        """Return the manifest of the stage of that digest; NotFound if there is none."""
        ref = self.registry.stage(digest)
        if ref is None:
            raise NotFound(
                f"There is no stage {digest} in the zoo. `zoo show <version>` lists the stages of a version."
            )
        return self._parse(StageManifest, ref.manifest)

    def add_backbone(self, manifest: BackboneManifest) -> Backbone:
        """Add a backbone whose stages were added already; the same content again returns what is stored.

        Raises:
            InvalidManifest: a stage or a blob that the manifest names is not stored.
        """
        subject = f"Backbone {manifest.name!r}"
        self._require_stages(subject, manifest.stages)
        self._require_blobs(subject, needed_blobs(manifest.preprocessing))
        row = self.registry.add_backbone(manifest.name, self.blobs.put(manifest.to_json()))
        return Backbone(*row, manifest)

    def backbone(self, reference: str) -> Backbone:
        """Return the backbone that ``name`` (the newest) or ``name@number`` means; NotFound if there is none."""
        wanted = parse_reference(reference)
        rows = [row for row in self.registry.backbones() if row.name == wanted.name]
        if not rows:
            known = {row.name for row in self.registry.backbones()}
            raise NotFound(
                f"There is no backbone {wanted.name!r} in the zoo. `zoo backbone add` adds one."
                + did_you_mean(wanted.name, known)
            )
        if not wanted.selector:
            return self._backbone(*rows[0])
        for row in rows:
            if row.number == wanted.number:
                return self._backbone(*row)
        raise NotFound(
            f"Backbone {wanted.name!r} has no number {wanted.selector!r}; "
            f"it has {', '.join(str(row.number) for row in rows)}."
        )

    def backbones(self) -> list[Backbone]:
        """Return every backbone, by name, newest first."""
        return [self._backbone(*row) for row in self.registry.backbones()]

    def publish(self, manifest: VersionManifest, *, promote_to: Sequence[str] = (), reason: str = "") -> Version:
        """Publish a version, and move aliases to it, in one transaction: all of it happens or none.

        An identical manifest again returns the version that is there (and moves what does not stand on it yet).

        Args:
            manifest: what to publish; its stages, backbone and preprocessing are in the zoo already.
            promote_to: the aliases to move to it.
            reason: why, for the promotion log.

        Raises:
            InvalidManifest: the manifest does not fit what the zoo holds, or does not add up.
            ParityMissed: an export is further from the torch model than its tolerance.
            GateMissed: a metric is beyond its bound.
            Conflict: the head belongs to another team.
        """
        for alias in promote_to:
            check_alias(alias)
        subject = f"Version of {manifest.head!r}"
        self._require_stages(subject, manifest.stages)
        self._require_blobs(subject, needed_blobs(manifest.preprocessing))
        rows = {row.digest: row for row in self.registry.backbones()}
        if manifest.backbone not in rows:
            raise InvalidManifest(f"{subject} names the backbone {manifest.backbone[:12]}…, which is not in the zoo.")
        paths = [self.stage(ref.digest) for ref in manifest.stages]
        check_version(manifest, paths, self._backbone(*rows[manifest.backbone]).manifest)
        digest = self.blobs.put(manifest.to_json())
        return self.registry.publish(manifest, digest, promote_to, reason)

    def check_owner(self, head: str, team: str) -> None:
        """Raise Conflict if a head belongs to another team: the one that published its first version."""
        self.registry.check_owner(head, team)

    def find_build(self, head: str, build_key: str) -> Version | None:
        """Return the newest version of a head that was built from exactly these ingredients, if there is one."""
        return self.registry.find_build(head, build_key)

    def heads(self) -> list[HeadSummary]:
        """Return every head with its newest version's number and its aliases, by name."""
        return self.registry.heads()

    def versions(self, head: str) -> list[Version]:
        """Return the versions of a head, newest first; NotFound if there is no such head."""
        found = self.registry.versions(head)
        if not found:
            known = [summary.name for summary in self.heads()]
            raise NotFound(f"There is no head {head!r} in the zoo." + did_you_mean(head, known))
        return found

    def resolve(self, reference: str) -> Resolved:
        """Return what ``head``, ``head@number``, ``head@alias`` or ``head@digest`` (8 digits or more) means now.

        A head's name alone is its ``prod`` alias, and the newest version of a head that has no such alias.

        Raises:
            NotFound: there is no such head, version or alias.
            InvalidReference: the reference is none, or the beginning of several digests.
        """
        wanted = parse_reference(reference)
        alias = wanted.selector or DEFAULT_ALIAS
        newest = next(iter(self.promotions(wanted.name, alias)), None)
        versions = self.versions(wanted.name)  # read second, so that it holds whatever the log names
        if newest is not None:
            version = next(version for version in versions if version.number == newest.number)
            return Resolved(version, alias, newest.epoch)
        if not wanted.selector:
            return Resolved(versions[0], "", 0)
        return Resolved(self._select(wanted, versions), "", 0)

    def _select(self, wanted: Reference, versions: Sequence[Version]) -> Version:
        for version in versions:
            if version.number == wanted.number:
                return version
        matches = [version for version in versions if wanted.is_digest and version.digest.startswith(wanted.selector)]
        if len(matches) == 1:
            return matches[0]
        if matches:
            raise InvalidReference(
                f"{wanted.selector!r} begins the digests of {', '.join(map(str, matches))}; add digits."
            )
        raise NotFound(self._no_version(wanted, versions))

    def _no_version(self, wanted: Reference, versions: Sequence[Version]) -> str:
        aliases = next(summary.aliases for summary in self.heads() if summary.name == wanted.name)
        has = ", ".join(str(version.number) for version in versions[:8]) + (", …" if len(versions) > 8 else "")
        standing = ", ".join(f"{state.alias} (version {state.number})" for state in aliases) or "none"
        guess = did_you_mean(wanted.selector, [state.alias for state in aliases]) if wanted.is_alias and aliases else ""
        return (
            f"Head {wanted.name!r} has no version or alias {wanted.selector!r}. "
            f"Its versions: {has}. Its aliases: {standing}.{guess if 'mean' in guess else ''}"
        )

    def manifest(self, version: Version) -> VersionManifest:
        """Return a version's manifest; Corrupt or NotFound if its blob is damaged or gone."""
        return self._parse(VersionManifest, version.digest)

    def promote(self, moves: Sequence[Move], *, by: str, reason: str) -> list[Promotion]:
        """Move several aliases in one transaction.

        Args:
            moves: which; one with an ``expected_epoch`` happens only if its alias has moved exactly that often.
            by: who moves them.
            reason: why, in their words.

        Raises:
            NotFound: a version does not exist, or a canary or shadow is to join an alias that means nothing yet.
            Conflict: an alias was moved by somebody else; the text says who, when and where to.
            InvalidConfig: a canary's share is no percentage from 1 to 99.
        """
        for move in moves:
            check_alias(move.alias)
            if move.role == "canary" and not 1 <= move.percent <= 99:
                raise InvalidConfig(
                    f"A canary cannot get {move.percent} % of the callers; expected 1 to 99. "
                    f"`zoo promote {move.head}@{move.number} {move.alias}` gives it all of them."
                )
        return self.registry.promote(moves, by=by, reason=reason)

    def rollback(self, head: str, alias: str, *, by: str, reason: str) -> Promotion:
        """Make an alias mean what it meant before: version, canary and shadows; NotFound if that was nothing."""
        self.versions(head)
        return self.registry.rollback(head, alias, by=by, reason=reason)

    def promotions(self, head: str, alias: str = "") -> list[Promotion]:
        """Return the promotions of a head, or of one of its aliases, newest first."""
        return self.registry.promotions(head, alias)

    def promotions_after(self, promotion_id: int) -> list[Promotion]:
        """Return every promotion with a greater id, oldest first: what a watcher of the whole log asks for."""
        return self.registry.promotions_after(promotion_id)

    def newest_promotion(self) -> int:
        """Return the id of the newest promotion, 0 if there is none."""
        return self.registry.newest_promotion()

    def live(self) -> list[Live]:
        """Return the version that every alias means now, by head and alias."""
        return self.registry.live()

    def log_reading(self, new: NewReading) -> Reading:
        """Log that the labels of a head's test split are read; whoever reads them calls this first."""
        return self.registry.add_reading(new)

    def readings(self, head: str, test_split: str = "") -> list[Reading]:
        """Return the readings of a head's test splits, or of the one of that digest, newest first."""
        return self.registry.readings(head, test_split)

    def verify(self, on_blob: Callable[[int, int], None] = ignore_progress) -> list[Problem]:
        """Check everything that the registry names; ``on_blob`` is told how many blobs of how many are done."""
        return list(verify_zoo(self.registry, self.blobs, on_blob).problems)

    def _backbone(self, name: str, number: int, digest: str) -> Backbone:
        return Backbone(name, number, digest, self._parse(BackboneManifest, digest))

    def _parse(self, kind: type[_RecordT], digest: str) -> _RecordT:
        try:
            return kind.model_validate_json(self.blobs.get(digest))
        except ValidationError as error:
            raise IncompatibleSchema(
                f"The manifest {digest} is not one that this release reads: {error.errors()[0]['msg']} at "
                f"{'.'.join(map(str, error.errors()[0]['loc'])) or 'its top'}. "
                "A newer Hydrazoo may have written it; upgrade."
            ) from error

    def _require_blobs(self, subject: str, digests: Iterable[str]) -> None:
        for digest in digests:
            if not self.blobs.has(digest):
                raise InvalidManifest(
                    f"{subject} names the blob {digest}, which is not stored; `zoo.blobs.put` it first."
                )

    def _require_stages(self, subject: str, refs: Iterable[StageRef]) -> None:
        for ref in refs:
            stored = self.registry.stage(ref.digest)
            if stored is None:
                raise InvalidManifest(
                    f"{subject} lists stage {ref.name!r} {ref.digest}, which is not in the zoo; add it first."
                )
            if stored != ref:
                raise InvalidManifest(
                    f"{subject} lists stage {ref.digest[:12]}… as {ref.name!r} with manifest {ref.manifest[:12]}…; "
                    f"the zoo has it as {stored.name!r} with manifest {stored.manifest[:12]}…. "
                    "Use what `add_stage` returns."
                )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unavailable(f"The folder {folder} cannot be made: {error.strerror}. --zoo names another.") from error


def _open_registry(folder: Path, database_url: str, *, create: bool) -> Registry:
    file = folder / DATABASE_FILE
    if not database_url and not create and not file.is_file():
        raise no_zoo(str(folder))
    engine = make_engine(database_url or URL.create("sqlite", database=str(file)))
    try:
        (bring_up_to_date if create else check_schema)(engine, str(folder))
    except BaseException:
        engine.dispose()
        raise
    return Registry(engine)
