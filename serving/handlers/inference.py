"""Tensors in, tensors out: the Open Inference Protocol, apart from its wire."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from serving.batching import Priority
from serving.codec import DATATYPES, DTYPES, datatype_of
from serving.errors import InvalidRequest
from serving.handlers.access import AccessLog
from serving.handlers.admission import Admission
from serving.handlers.asked import Asked, asked_heads, outputs_of, raw_input, shadows_of
from serving.handlers.asking import Asker
from serving.handlers.call import NOBODY, CallContext
from serving.handlers.shadowing import Shadowing
from serving.plan import LoadedPlan
from serving.runtimes.base import Arrays
from serving.statistics import outcome
from zoo.errors import Undecodable
from zoo.manifest import TensorSpec
from zoo.preprocessing.row import Raw
from zoo.suggest import did_you_mean

__all__ = ["InferRequest", "InferResponse", "InferenceHandler"]


@dataclass(frozen=True, slots=True, kw_only=True)
class InferRequest:
    """Inputs of one or more rows, and the heads that are asked for them."""

    model: str
    """A head's name, or several joined by ``+``."""
    version: str = ""
    """A number or an alias; empty for the default."""
    request_id: str = ""
    inputs: Arrays
    """By name, rows first; a BYTES tensor is an array of ``bytes`` objects."""
    outputs: tuple[str, ...] = ()
    """The outputs that are wanted; all if it is empty."""
    priority: Priority = Priority.NORMAL
    """Its place among the rows of its team."""
    routing_key: str = ""
    """Who asks, as far as a split alias is concerned: equal keys get the same side of it."""
    call: CallContext = NOBODY
    """Who calls, and the span that the call belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InferResponse:
    """The outputs of every row, joined, and the versions that gave them."""

    asked: tuple[Asked, ...]
    outputs: Arrays
    """By name, rows first, in the order in which they were wanted."""


class InferenceHandler:
    """Answers requests of tensors."""

    def __init__(self, asker: Asker, admission: Admission, log: AccessLog) -> None:
        self._asker = asker
        self._admission = admission
        self._log = log
        self._shadowing = Shadowing(lambda *row: asker.engine.statistics.record_shadow(*row), time.monotonic)

    def refuse(self, error: Exception, *, model: str, version: str, request_id: str, call: CallContext) -> None:
        """Log and count a request that could not be decoded, for the versions that it asked if there are such."""
        plan = self._asker.engine.plan
        self._log.refuse(
            "ModelInfer", request_id, call, model, lambda: asked_heads(plan, model, version), outcome(error)
        )

    async def infer(self, request: InferRequest, *, deadline: float | None) -> InferResponse:
        """Answer a request.

        Args:
            request: what is asked.
            deadline: by the engine's clock, in seconds.

        Raises:
            UnknownModel: a head, or its version, is not loaded.
            InvalidRequest: names, types or shapes do not fit the heads.
            InvalidInput: a row does not fit their preprocessing.
            ServingError: whatever the engine refuses.
        """
        with self._log.request("ModelInfer", request.request_id, request.call) as entry, self._admission.enter():
            entry.heads = request.model
            loaded = self._asker.engine.loaded
            entry.asked = asked = asked_heads(loaded.plan, request.model, request.version, request.routing_key)
            wanted = _wanted(request, asked)
            raws = self._raws(request, asked, loaded)
            entry.rows = len(raws)
            answers = await self._asker.ask(
                raws,
                [one.served for one in asked],
                loaded=loaded,
                deadline=deadline,
                priority=request.priority,
                shadows=shadows_of(asked),
                trace=entry.trace,
            )
            self._shadowing.compare_soon(asked, answers)
            outputs = {
                name: _join([answer.outputs[one.served.digest][spec.name] for answer in answers])
                for name, (one, spec) in wanted.items()
            }
            return InferResponse(asked=asked, outputs=outputs)

    def _raws(self, request: InferRequest, asked: Sequence[Asked], loaded: LoadedPlan) -> Sequence[Raw]:
        """Take the inputs apart into one raw input a row."""
        for name, array in request.inputs.items():
            if array.ndim == 0:
                raise InvalidRequest(f"Input {name!r} has no axes; the first one counts the rows.")
        kinds = {raw_input(one.served) for one in asked}
        if len(request.inputs) == 1 and set(request.inputs) <= kinds:
            [(kind, array)] = request.inputs.items()
            return _raw_rows(request, kinds, kind, array)
        for one in asked:
            _check_ready(request, one, loaded.declared(one.served))
        return _ready_rows(request.inputs)


def _wanted(request: InferRequest, asked: Sequence[Asked]) -> dict[str, tuple[Asked, TensorSpec]]:
    """Return the wanted outputs in order, or say which one there is not."""
    known = outputs_of(asked)
    for name in request.outputs:
        if name not in known:
            raise InvalidRequest(f"Model {request.model!r} has no output {name!r}.{did_you_mean(name, known)}")
    return {name: known[name] for name in request.outputs} if request.outputs else known


def _raw_rows(request: InferRequest, kinds: set[str], kind: str, array: NDArray[Any]) -> list[Raw]:
    if len(kinds) > 1:
        raise InvalidRequest(
            f"The heads of {request.model!r} take different inputs ({', '.join(sorted(kinds))}); ask them apart."
        )
    if array.dtype != DATATYPES["BYTES"] or array.shape not in {(array.size,), (array.size, 1)}:
        raise InvalidRequest(
            f"Input {kind!r} is {_described(array)}; model {request.model!r} takes BYTES [N] or [N, 1], a row each."
        )
    elements = array.ravel().tolist()
    return elements if kind == "image" else [_text(element, row) for row, element in enumerate(elements)]


def _text(element: bytes, row: int) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise Undecodable(
            f"Row {row} is not UTF-8 text ({error.reason} at byte {error.start}); encode it first."
        ) from None


def _check_ready(request: InferRequest, one: Asked, specs: Sequence[TensorSpec]) -> None:
    """Check ready tensors against what a head declares, in the wire's words; preprocessing checks the values."""
    declared = {spec.name: spec for spec in specs}
    raw = raw_input(one.served)
    takes = " and ".join(f"{spec.name} {_expected(spec)}" for spec in specs)
    expected = f"Head {one.served.head!r} takes {f'{raw} BYTES [N] or [N, 1], or ' if raw else ''}{takes}"
    for name, array in request.inputs.items():
        spec = declared.get(name)
        if spec is None:
            raise InvalidRequest(
                f"{expected}; it has no input {name!r}.{did_you_mean(name, filter(None, [raw, *declared]))}"
            )
        if datatype_of(array) != DTYPES[spec.dtype] or not _fits(array.shape, spec):
            raise InvalidRequest(f"{expected}; got {name} {_described(array)}.")
    missing = [name for name in declared if name not in request.inputs]
    if missing:
        raise InvalidRequest(f"{expected}; the request has no {' and no '.join(missing)}.")
    counts = {name: len(array) for name, array in request.inputs.items()}
    if len(set(counts.values())) > 1:
        raise InvalidRequest(f"The inputs have different numbers of rows: {counts}. Send as many rows of each.")


def _fits(shape: Sequence[int], spec: TensorSpec) -> bool:
    return len(shape) == len(spec.shape) and all(
        isinstance(axis, str) or size == axis for size, axis in zip(shape, spec.shape, strict=True)
    )


def _expected(spec: TensorSpec) -> str:
    return f"{DTYPES[spec.dtype]} [{', '.join(map(str, spec.shape))}]"


def _described(array: NDArray[Any]) -> str:
    return f"{datatype_of(array)} {list(array.shape)}"


def _ready_rows(inputs: Arrays) -> list[Raw]:
    rows = len(next(iter(inputs.values())))
    return [{name: array[row] for name, array in inputs.items()} for row in range(rows)]


def _join(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Put the rows of one output together; where their sizes differ, each is padded at its end with zeros.

    >>> _join([np.ones(1), np.ones(2)]).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    if len({array.shape for array in arrays}) == 1:
        return np.stack(arrays)
    shape = [max(sizes) for sizes in zip(*(array.shape for array in arrays), strict=True)]
    joined = np.zeros((len(arrays), *shape), arrays[0].dtype)
    for row, array in zip(joined, arrays, strict=True):
        row[tuple(slice(size) for size in array.shape)] = array
    return joined
