"""What is loaded: descriptions, counts and the list, as the Open Inference Protocol asks for them."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from serving.codec import DTYPES
from serving.errors import UnknownModel
from serving.handlers.admission import Admission
from serving.handlers.asked import Asked, asked_heads, outputs_of, raw_input
from serving.handlers.asking import Asker
from serving.plan import LoadedPlan, Plan, ServedVersion
from serving.statistics import VersionStatistics
from zoo.manifest import EmbedAnswer, RegressAnswer, TensorSpec

__all__ = ["Counted", "Described", "Listed", "ModelsHandler", "TensorDescription"]

DYNAMIC = -1
"""What the protocol writes for an axis of any size."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorDescription:
    """An input or output in the protocol's words; the first axis counts the rows."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """A model: one head, or several joined by ``+``."""

    name: str
    versions: tuple[int, ...]
    """The numbers that can be asked for; with several heads, those that all of them have."""
    platform: str
    device: str
    inputs: tuple[TensorDescription, ...]
    """What a request sends at the least: the raw input, where the heads take one."""
    ready_inputs: tuple[TensorDescription, ...]
    """What a request can send in its place; empty where ``inputs`` are ready tensors."""
    outputs: tuple[TensorDescription, ...]
    max_rows: int
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What one version has done."""

    served: ServedVersion
    statistics: VersionStatistics


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """One version in the list of all that are loaded."""

    served: ServedVersion
    ready: bool


class ModelsHandler:
    """Describes, counts and lists the loaded versions.

    Args:
        asker: the way to the engine.
        admission: says whether the server takes requests.
        platform: what runs the stages, e.g. ``hydrazoo_onnx``.
        device: e.g. ``cpu`` or ``cuda:0``.
    """

    def __init__(self, asker: Asker, admission: Admission, *, platform: str, device: str) -> None:
        self._asker = asker
        self._admission = admission
        self._platform = platform
        self._device = device

    @property
    def is_ready(self) -> bool:
        """Whether the server takes requests."""
        return self._admission.is_open and self._asker.engine.ready

    def is_model_ready(self, name: str, version: str) -> bool:
        """Say whether a model takes requests; False, not an error, for one that is not loaded."""
        try:
            return bool(asked_heads(self._asker.engine.plan, name, version)) and self.is_ready
        except UnknownModel:
            return False

    def describe(self, name: str, version: str) -> Described:
        """Describe a model.

        Raises:
            UnknownModel: a head of the name, or its version, is not loaded.
            InvalidRequest: the name asks a head twice.
            Loading: the server has not loaded yet.
        """
        self._admission.check_loaded()
        loaded = self._asker.engine.loaded
        asked = asked_heads(loaded.plan, name, version)
        raw, ready = _inputs(asked, loaded)
        return Described(
            name=name,
            versions=_shared_numbers(asked, loaded.plan),
            platform=self._platform,
            device=self._device,
            inputs=raw or ready,
            ready_inputs=ready if raw else (),
            outputs=tuple(_description(spec, name=output) for output, (_, spec) in outputs_of(asked).items()),
            max_rows=self._asker.max_request_rows,
            parameters={key: value for one in asked for key, value in _parameters(one.served).items()},
        )

    async def count(self, name: str, version: str) -> list[Counted]:
        """Return what the versions of one head, or of all, have done.

        Args:
            name: a head, or empty for all.
            version: a number or an alias, or empty for every version.

        Raises:
            UnknownModel: there is no such head or version.
            Loading: the server has not loaded yet.
            Unavailable: the engine, which counts, is in another process and gone.
        """
        self._admission.check_loaded()
        engine = self._asker.engine
        plan = engine.plan
        if name and version:
            chosen = [one.served for one in asked_heads(plan, name, version)]
        elif name:
            heads = {one.served.head for one in asked_heads(plan, name, "")}
            chosen = [served for served in plan.versions if served.head in heads]
        else:
            chosen = list(plan.versions)
        ordered = _ordered(chosen)
        counted = await engine.counted(ordered)
        return [Counted(served=served, statistics=one) for served, one in zip(ordered, counted, strict=True)]

    def index(self, *, ready_only: bool) -> list[Listed]:
        """List every loaded version by head and number; none if only ready ones are wanted and the server drains."""
        if ready_only and not self.is_ready:
            return []
        return [Listed(served=served, ready=self.is_ready) for served in _ordered(self._asker.engine.plan.versions)]


def _inputs(
    asked: Sequence[Asked], loaded: LoadedPlan
) -> tuple[tuple[TensorDescription, ...], tuple[TensorDescription, ...]]:
    raw = {name: TensorDescription(name=name, datatype="BYTES", shape=(DYNAMIC, 1)) for name in _raw_names(asked)}
    specs = {spec.name: spec for one in asked for spec in loaded.declared(one.served)}
    return tuple(raw.values()), tuple(_description(spec, name=name) for name, spec in specs.items())


def _shared_numbers(asked: Sequence[Asked], plan: Plan) -> tuple[int, ...]:
    numbers = [{served.number for served in plan.versions if served.head == one.served.head} for one in asked]
    return tuple(sorted(set.intersection(*numbers)))


def _raw_names(asked: Sequence[Asked]) -> list[str]:
    return [name for name in dict.fromkeys(raw_input(one.served) for one in asked) if name]


def _description(spec: TensorSpec, *, name: str) -> TensorDescription:
    shape = tuple(axis if isinstance(axis, int) else DYNAMIC for axis in spec.shape)
    return TensorDescription(name=name, datatype=DTYPES[spec.dtype], shape=shape)


def _parameters(served: ServedVersion) -> dict[str, str]:
    answer = served.manifest.answer
    parameters = {
        f"{served.head}.version_digest": served.digest,
        f"{served.head}.path_digest": served.manifest.path,
        f"{served.head}.answer": answer.kind,
        f"{served.head}.precision": served.precision,
    }
    if not isinstance(answer, RegressAnswer | EmbedAnswer):
        parameters[f"{served.head}.labels"] = json.dumps(answer.labels, ensure_ascii=False)
    return parameters


def _ordered(versions: Sequence[ServedVersion]) -> list[ServedVersion]:
    return sorted(versions, key=lambda served: (served.head, served.number))
