"""A plan in words: what the engine tells its front ends, and the same plan made of it, without anything that runs it.

Manifests travel along, each once, so that a front end asks no registry. Blobs that the preprocessing needs, such as a
tokenizer, it reads from the zoo itself, where they are verified.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, fields
from typing import Any

from serving.plan import AliasTarget, LoadedPlan, LoadFailure, ServedVersion, build_plan
from serving.runtimes.base import Executable
from zoo.manifest import StageManifest, VersionManifest
from zoo.preprocessing import Preprocessor, load_preprocessor

__all__ = ["Announced", "Known", "announce", "manifests_of", "understand"]


class Announced(Mapping[str, Executable]):
    """Stands where a plan has its executables, and says which plan of the engine's it is; nothing can be run with it.

    A request keeps its plan, and so this, for as long as it may ask with it: once this is collected, the engine's plan
    can go.

    Args:
        number: the engine's number of the plan.
        versions: its versions, in the engine's order.
    """

    def __init__(self, number: int, versions: Sequence[ServedVersion]) -> None:
        self.number = number
        self.place = {version.digest: place for place, version in enumerate(versions)}

    def __getitem__(self, key: str) -> Executable:
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


class Known:
    """What a front end was told, as far as its newest plan needs it: manifests and preprocessors, by digest."""

    def __init__(self) -> None:
        self.versions: dict[str, VersionManifest] = {}
        self.stages: dict[str, StageManifest] = {}
        self.preprocessors: dict[str, Preprocessor] = {}


def manifests_of(loaded: LoadedPlan) -> dict[str, VersionManifest | StageManifest]:
    """Return every manifest that a plan names, by digest."""
    stages = {node.stage_digest: node.stage for root in loaded.plan.roots for node in root.node.walk()}
    return {**stages, **{version.digest: version.manifest for version in loaded.plan.versions}}


def announce(loaded: LoadedPlan, known: AbstractSet[str]) -> bytes:
    """Put a plan into words.

    Args:
        loaded: the plan.
        known: digests of the manifests that the other side has already.
    """
    place = {version.digest: number for number, version in enumerate(loaded.plan.versions)}
    manifests = manifests_of(loaded)
    words = {
        "epoch": loaded.epoch,
        "versions": [_facts(version, without={"manifest"}) for version in loaded.plan.versions],
        "targets": [_target(target, place) for target in loaded.plan.targets],
        "failures": [asdict(failure) for failure in loaded.failures],
        "stages": [digest for digest, manifest in manifests.items() if isinstance(manifest, StageManifest)],
        "manifests": {
            digest: manifest.model_dump(mode="json", by_alias=True)
            for digest, manifest in manifests.items()
            if digest not in known
        },
    }
    return json.dumps(words).encode()


def understand(number: int, words: bytes, known: Known, read_blob: Callable[[str], bytes]) -> LoadedPlan:
    """Make a plan out of an announcement.

    Args:
        number: the engine's number of the plan.
        words: what ``announce`` wrote.
        known: what was understood before; brought up to date, and emptied of what this plan does not need.
        read_blob: gives verified bytes from the zoo.

    Raises:
        ZooError: a blob cannot be read; ``known`` is as it was.
    """
    said = json.loads(words)
    new = said["manifests"]
    stages = {
        digest: known.stages.get(digest) or StageManifest.model_validate(new[digest]) for digest in said["stages"]
    }
    versions = tuple(_version(facts, known, new) for facts in said["versions"])
    preprocessors = {
        version.preprocessing: known.preprocessors.get(version.preprocessing)
        or load_preprocessor(version.manifest.preprocessing, read_blob)
        for version in {version.preprocessing: version for version in versions}.values()
    }
    known.versions = {version.digest: version.manifest for version in versions}
    known.stages, known.preprocessors = stages, preprocessors
    return LoadedPlan(
        plan=build_plan(versions, stages, targets=[_target_of(facts, versions) for facts in said["targets"]]),
        executables=Announced(number, versions),
        preprocessors=preprocessors,
        epoch=said["epoch"],
        failures=tuple(LoadFailure(**facts) for facts in said["failures"]),
    )


def _facts(value: ServedVersion | AliasTarget, *, without: AbstractSet[str]) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in fields(value) if field.name not in without}


def _version(facts: Mapping[str, Any], known: Known, new: Mapping[str, Any]) -> ServedVersion:
    digest = facts["digest"]
    manifest = known.versions.get(digest) or VersionManifest.model_validate(new[digest])
    return ServedVersion(**facts, manifest=manifest)


def _target(target: AliasTarget, place: Mapping[str, int]) -> dict[str, Any]:
    return {
        **_facts(target, without={"live", "canary", "shadows"}),
        "live": place[target.live.digest],
        "canary": [place[target.canary.digest]] if target.canary else [],
        "shadows": [place[shadow.digest] for shadow in target.shadows],
    }


def _target_of(facts: Mapping[str, Any], versions: Sequence[ServedVersion]) -> AliasTarget:
    named = {
        "live": versions[facts["live"]],
        "canary": versions[facts["canary"][0]] if facts["canary"] else None,
        "shadows": tuple(versions[place] for place in facts["shadows"]),
    }
    return AliasTarget(**{**facts, **named})
