"""Verification: read everything that the registry names, and say what is missing, damaged or inconsistent."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from pydantic import ValidationError

from zoo.blobs import BlobStore
from zoo.errors import Corrupt, NotFound
from zoo.manifest import BackboneManifest, Preprocessing, StageManifest, StageRef, VersionManifest
from zoo.publishing import needed_blobs
from zoo.record import Record
from zoo.registry.records import BackboneRow, Problem, Version
from zoo.registry.registry import Registry

__all__ = ["Verification", "ignore_progress", "verify_zoo"]

_RecordT = TypeVar("_RecordT", bound=Record)

_REMEDY = "restore it, or build the same again with --force: the same bytes heal it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """What ``verify_zoo`` found. Unreferenced blobs are left over from something interrupted, and harm nothing."""

    problems: tuple[Problem, ...]
    unreferenced: tuple[str, ...]
    versions: int
    stages: int
    blobs: int


def ignore_progress(done: int, total: int) -> None:
    """Tell nobody how far the work is."""


def verify_zoo(
    registry: Registry, blobs: BlobStore, on_blob: Callable[[int, int], None] = ignore_progress
) -> Verification:
    """Check every row of the registry, and every blob, against each other.

    Args:
        registry: the rows.
        blobs: the bytes.
        on_blob: told how many blobs of how many have been read.

    Returns:
        The problems, and the blobs that nothing names.
    """
    walk = _Walk(registry, blobs)
    walk.read_blobs(on_blob)
    walk.check_stages()
    walk.check_backbones()
    walk.check_versions()
    walk.check_promotions()
    return Verification(
        problems=tuple(walk.problems),
        unreferenced=tuple(sorted(walk.stored - walk.named)),
        versions=len(registry.versions()),
        stages=len(registry.stages()),
        blobs=len(walk.stored),
    )


@dataclass(slots=True)
class _Walk:
    """One walk over the zoo: what was read so far, and what was found wrong."""

    registry: Registry
    blobs: BlobStore
    problems: list[Problem] = field(default_factory=list)
    stored: set[str] = field(default_factory=set)
    damaged: set[str] = field(default_factory=set)
    named: set[str] = field(default_factory=set)

    def read_blobs(self, on_blob: Callable[[int, int], None]) -> None:
        """Read every stored blob once."""
        self.stored = set(self.blobs.digests())
        for done, digest in enumerate(sorted(self.stored), start=1):
            try:
                self.blobs.get(digest)
            except (Corrupt, NotFound):
                self.damaged.add(digest)
            on_blob(done, len(self.stored))

    def check_stages(self) -> None:
        """Check every stage's manifest and exports."""
        for ref in self.registry.stages():
            subject = f"stage {ref.name} {ref.digest[:12]}"
            manifest = self._manifest(subject, StageManifest, ref.manifest)
            if manifest is None:
                continue
            if manifest.digest != ref.digest:
                self._mismatch(subject, f"its manifest is of stage {manifest.digest[:12]}…")
            for form, artifact in manifest.artifacts.items():
                self._need(subject, f"{form} export", artifact.blob)

    def check_backbones(self) -> None:
        """Check every backbone's manifest, stages and preprocessing."""
        for row in self.registry.backbones():
            subject = f"backbone {row.name}@{row.number}"
            manifest = self._manifest(subject, BackboneManifest, row.digest)
            if manifest is not None:
                self._check_backbone(subject, row, manifest)

    def check_versions(self) -> None:
        """Check every version's manifest, stages and preprocessing."""
        for version in self.registry.versions():
            manifest = self._manifest(f"version {version}", VersionManifest, version.digest)
            if manifest is not None:
                self._check_version(version, manifest)

    def check_promotions(self) -> None:
        """Check that every entry of the promotion log names a version."""
        for head, alias, epoch, number in self.registry.dangling_promotions():
            self._mismatch(f"alias {head}@{alias}", f"its epoch {epoch} means {head}@{number}, which does not exist")

    def _check_backbone(self, subject: str, row: BackboneRow, manifest: BackboneManifest) -> None:
        if manifest.name != row.name:
            self._mismatch(subject, f"its manifest is of backbone {manifest.name!r}")
        self._check_refs(subject, manifest.stages, manifest.preprocessing)

    def _check_version(self, version: Version, manifest: VersionManifest) -> None:
        subject = f"version {version}"
        expected = (manifest.head, manifest.path, manifest.build_key, manifest.created_by, manifest.created_at)
        found = (version.head, version.path_digest, version.build_key, version.created_by, version.created_at)
        if expected != found:
            self._mismatch(subject, f"its row says {found}, its manifest {expected}")
        if [ref.digest for ref in manifest.stages] != self.registry.version_stages(version.digest):
            self._mismatch(subject, "its row lists other stages than its manifest")
        if manifest.backbone not in {row.digest for row in self.registry.backbones()}:
            self._mismatch(subject, f"its backbone {manifest.backbone[:12]}… is not in the registry")
        self._check_refs(subject, manifest.stages, manifest.preprocessing)

    def _check_refs(self, subject: str, stages: tuple[StageRef, ...], preprocessing: Preprocessing) -> None:
        for ref in stages:
            if self.registry.stage(ref.digest) != ref:
                self._mismatch(
                    subject, f"its stage {ref.name} {ref.digest[:12]}… is not in the registry as it lists it"
                )
        for blob in needed_blobs(preprocessing):
            self._need(subject, "tokenizer", blob)

    def _manifest(self, subject: str, kind: type[_RecordT], digest: str) -> _RecordT | None:
        if not self._need(subject, "manifest", digest):
            return None
        try:
            return kind.model_validate_json(self.blobs.get(digest))
        except ValidationError as error:
            self._mismatch(subject, f"its manifest is not one that this release reads: {error.errors()[0]['msg']}")
            return None

    def _need(self, subject: str, what: str, digest: str) -> bool:
        self.named.add(digest)
        if digest not in self.stored:
            self._look_again(digest)
        if digest not in self.stored:
            message = f"its {what}, blob {digest}, is not in the blob store; {_REMEDY}"
            self.problems.append(Problem(subject, "missing", message))
        elif digest in self.damaged:
            message = f"its {what}, blob {digest}, is damaged; {_REMEDY}"
            self.problems.append(Problem(subject, "corrupt", message))
        return digest in self.stored - self.damaged

    def _look_again(self, digest: str) -> None:
        """Read a blob that was not there when the blobs were listed: it may have been published since."""
        try:
            self.blobs.get(digest)
        except NotFound:
            return
        except Corrupt:
            self.damaged.add(digest)
        self.stored.add(digest)

    def _mismatch(self, subject: str, message: str) -> None:
        self.problems.append(Problem(subject, "mismatch", f"{message}; the registry and the blobs are not of one zoo"))
