"""What a plan is put together from: manifests, stages and preprocessors, each read and loaded at most once.

What the plan before has is not read again. A version whose parts cannot be had is noted, and costs no other.
"""

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from serving.errors import StageFailed
from serving.plan import LoadedPlan, Precision, ServedVersion, steps_of
from serving.precision import Asked, choose, fallback_note, form_of
from serving.runtimes.base import Executable, Runtime
from zoo import Version, Zoo
from zoo.manifest import StageManifest, VersionManifest
from zoo.preprocessing import load_preprocessor

__all__ = ["Parts", "Progress"]

_log = logging.getLogger(__name__)

Progress = Callable[[str, int, int], None]
"""Called with what was just done, how many steps are done, and how many there are."""


class Parts:
    """Reads and loads.

    Args:
        zoo: where the bytes are.
        runtime: what loads the stages.
        before: a plan that is loaded.
        share: give every version stages of its own if it is false.
        failed: versions, by digest, that are known not to run, with the cause.
    """

    def __init__(
        self, zoo: Zoo, runtime: Runtime, before: LoadedPlan, *, share: bool, failed: Mapping[str, Exception]
    ) -> None:
        self._zoo = zoo
        self._runtime = runtime
        self._share = share
        self.failed = dict(failed)
        """By version digest: why it cannot be served."""
        self.versions = {version.digest: version for version in before.plan.versions}
        """By digest, those of the plan before too. Their aliases are not up to date."""
        self.stages = {node.stage_digest: node.stage for node in before.plan.nodes()}
        self.executables = dict(before.executables)
        self.preprocessors = dict(before.preprocessors)

    def read(self, wanted: Iterable[Version], precision: Asked) -> None:
        """Read the manifests of the versions and of their stages, and choose what each computes in."""
        for version in wanted:
            with _Noting(self.failed, (version.digest,)):
                known = self.versions.get(version.digest) or self._read(version)
                chosen = self._precision(known.manifest, precision)
                if version.digest not in self.versions and (
                    note := fallback_note(str(known), known.manifest, precision, chosen)
                ):
                    _log.warning("%s", note)
                self.versions[version.digest] = known if chosen == known.precision else replace(known, precision=chosen)

    def load(self, wanted: Iterable[str], progress: Progress) -> None:
        """Load the stages and preprocessors of the versions of these digests, but for those that are loaded."""
        versions = [self.versions[digest] for digest in wanted if digest not in self.failed]
        users: dict[str, list[ServedVersion]] = {}
        stages: dict[str, StageManifest] = {}
        for version in versions:
            steps = steps_of(version, self.stages, share=self._share)
            for key, ref in zip(steps, version.manifest.stages, strict=True):
                users.setdefault(key, []).append(version)
                stages[key] = self.stages[ref.digest]
        new = [key for key in stages if key not in self.executables]
        for done, key in enumerate(new, start=1):
            with _Noting(self.failed, [version.digest for version in users[key]]):
                self.executables[key] = self._executable(stages[key], users[key][0].precision)
            progress(f"loaded {stages[key].name}", done, len(new))
        for version in versions:
            if version.preprocessing not in self.preprocessors:
                with _Noting(self.failed, (version.digest,)):
                    spec = version.manifest.preprocessing
                    self.preprocessors[version.preprocessing] = load_preprocessor(spec, self._zoo.blobs.get)

    def _read(self, version: Version) -> ServedVersion:
        manifest = self._zoo.manifest(version)
        for ref in manifest.stages:
            if ref.digest not in self.stages:
                self.stages[ref.digest] = self._zoo.stage(ref.digest)
        return ServedVersion(
            head=version.head,
            number=version.number,
            digest=version.digest,
            preprocessing=manifest.preprocessing.content_digest(),
            manifest=manifest,
            aliases={},
        )

    def _precision(self, manifest: VersionManifest, asked: Asked) -> Precision:
        return choose(manifest, asked, self._runtime.device) if self._runtime.format == "onnx" else "fp32"

    def _executable(self, stage: StageManifest, precision: Precision) -> Executable:
        plain = self._runtime.format
        form = form_of(precision, plain)
        if form not in stage.artifacts:  # heads are small: they have no other precision, whatever the body runs in
            form = plain
        if self._share and form == "onnx" and "onnx-group" in stage.artifacts:
            return self._runtime.load_member(stage, self._zoo.blobs.get)
        artifact = stage.artifacts.get(form)
        if artifact is None:
            raise StageFailed(
                f"Stage {stage.name!r} is not stored as {plain}, only as {', '.join(stage.artifacts)}; the "
                f"runtime {self._runtime.name!r} needs that. Publish it again in that format, or serve with another "
                "runtime."
            )
        return self._runtime.load(stage, self._zoo.blobs.get(artifact.blob))


class _Noting:
    """Notes what goes wrong in its block as the failure of some versions, and goes on: others are to be served."""

    def __init__(self, failed: dict[str, Exception], digests: Sequence[str]) -> None:
        self._failed = failed
        self._digests = digests

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        """Note an error, if there was one."""
        if not isinstance(error, Exception):
            return False
        for digest in self._digests:
            self._failed.setdefault(digest, error.with_traceback(None))  # whose frames would keep stages alive
        return True
