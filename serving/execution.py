"""One batch through the plan: each node once, on the rows that want anything at or below it.

Depth first, so that the tensors of a finished branch are freed before the next one runs. What a node gives stays on
the device for its children; only what a version answers with comes back to the host.
"""

import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from serving.cache import NodeCache
from serving.errors import ServingError, StageFailed
from serving.plan import LoadedPlan, Node, Root, Route, ServedVersion
from serving.runtimes.base import Arrays, DeviceTensors, Runtime
from serving.work import Answers, Found, Start, Work
from zoo.manifest import TensorSpec
from zoo.preprocessing import Row, collate

__all__ = ["Answers", "BatchResult", "Execution", "Found", "NodeRun", "Start", "VersionRun", "Work"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRun:
    """What one batch meant for one version. The times are the whole batch's, shared work included."""

    version: ServedVersion
    works: tuple[int, ...]
    """Positions in the batch of the rows that it answered, or failed on."""
    failed: bool
    input_s: float
    infer_s: float
    output_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """One node's part in a batch; the times are by the engine's clock."""

    path: str
    stage: str
    """The stage's name."""
    rows: int
    width: int
    """Tokens of each row, padding included; 1 for an input that has none."""
    began_s: float
    ended_s: float
    seconds: float
    """What the cost model is to learn: all of the run, or its share of a run that it shared with other heads."""


@dataclass(slots=True, kw_only=True)
class BatchResult:
    """The outcome of one batch, by position in it."""

    answers: list[Answers]
    failures: dict[int, ServingError] = field(default_factory=dict)
    """The first failure of each row that has one; the other versions of such a row may have answered."""
    version_failures: dict[tuple[int, str], ServingError] = field(default_factory=dict)
    """By position and version digest; what fails of a shadow is only logged."""
    dropped: set[int] = field(default_factory=set)
    """Rows that nobody wanted any more before all of their nodes had run."""
    runs: list[NodeRun] = field(default_factory=list)
    """Every node that ran, in order."""
    real_tokens: int = 0
    """Tokens of its rows."""
    padded_tokens: int = 0
    """Tokens that its first stage computed, padding included: rows times the longest."""
    version_runs: list[VersionRun] = field(default_factory=list)


class Execution:
    """Runs batches of one loaded plan on one runtime; called by the thread that owns the device."""

    def __init__(
        self, loaded: LoadedPlan, runtime: Runtime, clock: Callable[[], float], cache: NodeCache | None = None
    ) -> None:
        self._cache = cache
        self._loaded = loaded
        self._runtime = runtime
        self._clock = clock
        self._outputs = {version.digest: _declared_outputs(version) for version in loaded.plan.versions}

    def lookup(self, route: Route, row: Row) -> Found:  # noqa: ARG002 - next
        """Return what the cache has for a row; called on the event loop."""
        return Found(answers={}, start=Start(root=route.root), route=route)

    def run(self, start: Start, works: Sequence[Work]) -> BatchResult:
        """Run the rows of one root as one batch.

        A stage that fails fails the rows that want something at or below it; all others get their answers.

        Args:
            start: where all of them enter the plan.
            works: at least one row.

        Returns:
            An answer or a failure for each row, and what ran.
        """
        return _Batch(self._loaded, self._runtime, self._clock, self._outputs, works).run(start.root)


def _declared_outputs(version: ServedVersion) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Return each output's name, and which axes of one row (without N) run over its tokens."""
    return tuple((spec.name, _token_axes(spec)) for spec in version.manifest.signature.outputs)


def _token_axes(spec: TensorSpec) -> tuple[int, ...]:
    return tuple(position for position, axis in enumerate(spec.shape[1:]) if axis == "T")


class _Batch:
    """The state of one run: who wants what, and how it went."""

    def __init__(
        self,
        loaded: LoadedPlan,
        runtime: Runtime,
        clock: Callable[[], float],
        outputs: Mapping[str, tuple[tuple[str, tuple[int, ...]], ...]],
        works: Sequence[Work],
    ) -> None:
        self._loaded = loaded
        self._runtime = runtime
        self._clock = clock
        self._outputs = outputs
        self._works = works
        self._at_node: dict[str, list[int]] = {}
        self._wanting: dict[str, list[int]] = {}
        for position, work in enumerate(works):
            for path in work.route.paths:
                self._at_node.setdefault(path, []).append(position)
            for version in work.route.versions:
                self._wanting.setdefault(version.digest, []).append(position)
        self._input_s = 0.0
        lengths = [work.row.length for work in works]
        self._result = BatchResult(
            answers=[{} for _ in works], real_tokens=sum(lengths), padded_tokens=len(lengths) * max(lengths)
        )

    def run(self, root: Root) -> BatchResult:
        started_s = self._clock()
        try:
            preprocessor = self._loaded.preprocessors[root.preprocessing]
            tensors = self._runtime.to_device(collate([work.row for work in self._works], preprocessor))
        except Exception as error:
            self._fail(root.node, "the input of stage", error, 0.0)
        else:
            self._input_s = self._clock() - started_s
            self._visit(root.node, tensors, 0.0)
        return self._result

    def _visit(self, node: Node, tensors: DeviceTensors, above_s: float) -> None:
        """Run ``node`` on the rows in ``tensors``, which are those at this node, and then everything below it."""
        rows = self._at_node[node.path]
        started_s = self._clock()
        try:
            tensors = {**tensors, **self._loaded.executables[node.executable](tensors)}
        except Exception as error:
            self._fail(node, "stage", error, above_s)
            return
        ended_s = self._clock()
        infer_s = above_s + ended_s - started_s
        self._result.runs.append(
            NodeRun(
                path=node.path,
                stage=node.stage.name,
                rows=len(rows),
                width=max(self._works[position].row.length for position in rows),
                began_s=started_s,
                ended_s=ended_s,
                seconds=ended_s - started_s,
            )
        )
        if node.versions:
            self._answer(node, tensors, infer_s)
        for child in node.children:
            if child.path in self._at_node:
                self._descend(child, rows, tensors, infer_s)

    def _descend(self, child: Node, rows: list[int], tensors: DeviceTensors, infer_s: float) -> None:
        """Visit ``child`` with its own rows, picked out of ``rows`` only if it does not want all of them."""
        wanted = self._at_node[child.path]
        if len(wanted) < len(rows):
            started_s = self._clock()
            try:
                needed = {name: tensors[name] for name in child.needs}
                tensors = self._runtime.take(needed, _indices(wanted, rows))
            except Exception as error:
                self._fail(child, "the input of stage", error, infer_s)
                return
            infer_s += self._clock() - started_s
        self._visit(child, tensors, infer_s)

    def _answer(self, node: Node, tensors: DeviceTensors, infer_s: float) -> None:
        """Bring the outputs of the versions that end at ``node`` to the host, and give each row its slice."""
        wanted = [version for version in node.versions if version.digest in self._wanting]
        if not wanted:
            return
        started_s = self._clock()
        try:
            names = {name for version in wanted for name, _ in self._outputs[version.digest]}
            arrays = self._runtime.to_host({name: tensors[name] for name in names})
            for version in wanted:
                self._slice(version, arrays, self._at_node[node.path])
        except Exception as error:
            self._fail_versions(wanted, self._failure(node, "the output of stage", error), infer_s)
            return
        output_s = self._clock() - started_s
        for version in wanted:
            self._record(version, infer_s=infer_s, output_s=output_s, failed=False)

    def _slice(self, version: ServedVersion, arrays: Arrays, rows: list[int]) -> None:
        wanting = self._wanting[version.digest]
        for index, position in zip(_indices(wanting, rows), wanting, strict=True):
            length = self._works[position].row.length
            self._result.answers[position][version.digest] = {
                name: _trim(arrays[name][index], token_axes, length)
                for name, token_axes in self._outputs[version.digest]
            }

    def _fail(self, node: Node, what: str, error: Exception, infer_s: float) -> None:
        """Fail every row that wants something at ``node`` or below it; the rest of the batch goes on."""
        below = [version for each in node.walk() for version in each.versions if version.digest in self._wanting]
        self._fail_versions(below, self._failure(node, what, error), infer_s)

    def _fail_versions(self, versions: Sequence[ServedVersion], failure: StageFailed, infer_s: float) -> None:
        for version in versions:
            for position in self._wanting[version.digest]:
                self._result.failures.setdefault(position, failure)
            self._record(version, infer_s=infer_s, output_s=0.0, failed=True)

    def _failure(self, node: Node, what: str, error: Exception) -> StageFailed:
        """Log the cause, and return what a caller may know of it."""
        incident = secrets.token_hex(6)
        rows = len(self._at_node[node.path])
        _log.error(
            "%s: %s %r failed on %d rows, path %s", incident, what, node.stage.name, rows, node.path, exc_info=error
        )
        failure = StageFailed(
            f"{what[0].upper()}{what[1:]} {node.stage.name!r} failed on this batch. "
            f"The server's log has the cause under {incident}; tell its operators that id."
        )
        failure.__cause__ = error
        return failure

    def _record(self, version: ServedVersion, *, infer_s: float, output_s: float, failed: bool) -> None:
        run = VersionRun(
            version=version,
            works=tuple(self._wanting[version.digest]),
            failed=failed,
            input_s=self._input_s,
            infer_s=infer_s,
            output_s=output_s,
        )
        self._result.version_runs.append(run)


def _indices(wanted: Sequence[int], rows: Sequence[int]) -> Sequence[int]:
    """Return where in ``rows`` each of ``wanted`` stands.

    >>> _indices([3, 7], [1, 3, 7])
    [1, 2]
    """
    if len(wanted) == len(rows):
        return range(len(rows))
    index_of = {position: index for index, position in enumerate(rows)}
    return [index_of[position] for position in wanted]


def _trim(array: NDArray[Any], token_axes: tuple[int, ...], length: int) -> NDArray[Any]:
    """Return ``array`` of one row without the padding at the end of its token axes."""
    for axis in token_axes:
        if array.shape[axis] > length:
            array = array[(slice(None),) * axis + (slice(length),)]
    return array
