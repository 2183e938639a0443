"""A runtime of Python functions that counts what it runs, and plans made for it without a zoo.

Rows are token ids. Each body stage adds 1 to every token; the head called ``tag`` answers with the tokens, and any
other head with their sum and a number of its own. So every answer depends on the row, on the path and on nothing
else, and ``expected`` says what it is.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.groups import Member
from serving.plan import LoadedPlan, ServedVersion, build_plan
from serving.runtimes.base import Arrays, DeviceTensors, Executable
from tests.support.provenance import provenance
from zoo.digest import digest_bytes
from zoo.manifest import (
    Artifact,
    ClassifyAnswer,
    Format,
    Signature,
    StageManifest,
    StageRef,
    TensorPreprocessing,
    TensorSpec,
    VersionManifest,
)
from zoo.preprocessing import Row, load_preprocessor

IDS = TensorSpec(name="ids_NT", dtype="int64", shape=("N", "T"))
MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
TOKENS = TensorSpec(name="tokens_NT", dtype="int64", shape=("N", "T"))
TOTAL = TensorSpec(name="total_N1", dtype="int64", shape=("N", 1))
TAGS = TensorSpec(name="tags_NT", dtype="int64", shape=("N", "T"))
PREPROCESSING = TensorPreprocessing(tensors=(IDS, MASK))

BAD = 900

Function = Callable[[DeviceTensors], DeviceTensors]


@dataclass
class FakeRuntime:
    """Runs the function of each stage's name; clearing ``released`` stops it in a stage until it is set again."""

    name: str = "fake"
    device: str = "cpu"
    format: Format = "onnx"
    lanes: int = 1
    inline: bool = False
    calls: list[tuple[str, int]] = field(default_factory=list)
    taken: list[tuple[int, ...]] = field(default_factory=list)
    brought_back: list[tuple[str, ...]] = field(default_factory=list)
    broken: set[str] = field(default_factory=set)
    fragile: set[str] = field(default_factory=set)
    """Names of stages that break on a row with a token of ``BAD`` or more."""
    grouped: bool = False
    """Whether heads that answer with a total run as one."""
    delay_s: float = 0.0
    entered: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    released: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.released.set()
        self.group = FakeGroup(self)

    def load(self, stage: StageManifest, artifact: bytes) -> Executable:
        if self.grouped and stage.outputs == (TOTAL,):
            return self.load_member(stage, _no_blob)
        return lambda tensors: self.run(stage.name, tensors)

    def load_member(self, stage: StageManifest, read: Callable[[str], bytes]) -> Executable:
        return Member(self.group, stage.digest, {"name": np.array(stage.name)})

    def run(self, name: str, tensors: DeviceTensors) -> DeviceTensors:
        first = tensors["ids_NT" if name.startswith("body/0") else "tokens_NT"]
        self.calls.append((name, len(first)))
        self.entered.release()
        assert self.released.wait(10)
        if self.delay_s:
            time.sleep(self.delay_s)
        if name in self.broken or (name in self.fragile and (first >= BAD).any()):
            raise RuntimeError("the fake stage is broken")
        return function_of(name)(tensors)

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        return arrays

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        self.taken.append(tuple(rows))
        return {name: array[list(rows)] for name, array in tensors.items()}

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        self.brought_back.append(tuple(tensors))
        return tensors


class FakeGroup:
    """Runs several heads that answer with a total as one call; see ``Group``."""

    def __init__(self, runtime: FakeRuntime) -> None:
        self._runtime = runtime

    def run(self, members: Sequence[Member], tensors: DeviceTensors) -> Arrays:
        names = [str(member.weights["name"]) for member in members]
        self._runtime.calls.append(("+".join(names), len(tensors["tokens_NT"])))
        bad = (tensors["tokens_NT"] >= BAD).any()
        if self._runtime.broken & set(names) or (bad and self._runtime.fragile & set(names)):
            raise RuntimeError("the fake group is broken")
        return {"total_N1": np.stack([function_of(name)(tensors)["total_N1"] for name in names])}

    def alone(self, member: Member, tensors: DeviceTensors) -> DeviceTensors:
        return self._runtime.run(str(member.weights["name"]), tensors)


def number_of(head: str) -> int:
    return sum(head.encode())


def function_of(stage: str) -> Function:
    if stage.startswith("body/0"):
        return lambda tensors: {"tokens_NT": (tensors["ids_NT"] + 1) * tensors["mask_NT"]}
    if stage.startswith("body/"):
        return lambda tensors: {"tokens_NT": (tensors["tokens_NT"] + 1) * tensors["mask_NT"]}
    if stage == "tag":
        return lambda tensors: {"tags_NT": tensors["tokens_NT"]}
    return lambda tensors: {"total_N1": tensors["tokens_NT"].sum(axis=1, keepdims=True) + number_of(stage)}


def stage(name: str) -> StageManifest:
    first = name.startswith("body/0")
    output = TOKENS if name.startswith("body/") else TAGS if name == "tag" else TOTAL
    return StageManifest(
        name=name,
        architecture={"fake": name},
        inputs=(IDS if first else TOKENS, MASK),
        outputs=(output,),
        weights=digest_bytes(name.encode()),
        parameters=0,
        artifacts={"onnx": Artifact(blob=digest_bytes(b""), size_bytes=0, made_by="hand")},
    )


def served(
    head: str, path: Sequence[str], *, number: int = 1, aliases: Mapping[str, int] | None = None, **changes: Any
) -> ServedVersion:
    """Return a version whose path is the stages of these names."""
    manifest = manifest_of(head, path, number).model_copy(update=changes)
    return ServedVersion(
        head=head,
        number=number,
        digest=manifest.digest,
        preprocessing=manifest.preprocessing.content_digest(),
        manifest=manifest,
        aliases={"prod": 1} if aliases is None else aliases,
    )


def manifest_of(head: str, path: Sequence[str], number: int) -> VersionManifest:
    stages = [stage(name) for name in path]
    return VersionManifest(
        backbone=digest_bytes(b"body"),
        stages=tuple(StageRef(name=each.name, digest=each.digest, manifest=each.content_digest()) for each in stages),
        shared_stages=len(path) - 1,
        preprocessing=PREPROCESSING,
        signature=Signature(inputs=(IDS, MASK), outputs=stages[-1].outputs),
        answer=ClassifyAnswer(labels=("no", "yes"), output=stages[-1].outputs[0].name),
        **provenance(head, str(number)),
    )


def loaded_plan(versions: Iterable[ServedVersion], runtime: FakeRuntime) -> LoadedPlan:
    """Return a plan of these versions, loaded on the fake runtime."""
    versions = tuple(versions)
    stages = {each.digest: each for version in versions for each in map(stage, stage_names(version))}
    return LoadedPlan(
        plan=build_plan(versions, stages),
        executables={digest: runtime.load(each, b"") for digest, each in stages.items()},
        preprocessors={
            version.preprocessing: load_preprocessor(version.manifest.preprocessing, _no_blob) for version in versions
        },
    )


def stage_names(version: ServedVersion) -> list[str]:
    return [ref.name for ref in version.manifest.stages]


def row(*ids: int) -> Row:
    """Return a row of these token ids."""
    tensors = {"ids_NT": np.array(ids, np.int64), "mask_NT": np.ones(len(ids), np.int64)}
    return Row(tensors=tensors, length=len(ids), digest=digest_bytes(str(ids).encode()))


def expected(version: ServedVersion, ids: Sequence[int]) -> NDArray[np.int64]:
    """Return what ``version`` answers for the row of these ids."""
    tensors: dict[str, Any] = {"ids_NT": np.array([ids]), "mask_NT": np.ones((1, len(ids)), np.int64)}
    for name in stage_names(version):
        tensors.update(function_of(name)(tensors))
    answer: NDArray[np.int64] = tensors[version.manifest.answer.output][0]
    return answer


def _no_blob(digest: str) -> bytes:
    raise AssertionError(f"the fake preprocessing reads no blob, not even {digest}")
