"""Which requests of one message are asked for together, as one request of several rows."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from hydrazoo.predict.v1 import predict_pb2 as pb

from serving.handlers.predict import PredictRequest

__all__ = ["MAX_ALIKE", "Unit", "units_of"]

MAX_ALIKE = 16
"""Requests of a unit: none is answered before all are, and what each further one saves gets less."""

SMALL_BYTES = 2048
"""Of one input. What is larger costs so much elsewhere that taking it along saves nothing."""


@dataclass(slots=True)
class Unit:
    """Requests that differ in their input alone; or one that could not be decoded."""

    ids: list[int]
    requests: list[PredictRequest]
    timeout_us: int = 0
    error: Exception | None = None
    """Why the only request of it could not be decoded."""

    def __len__(self) -> int:
        return len(self.ids)


def units_of(
    streamed: Iterable[pb.StreamedRequest], decode: Callable[[pb.PredictRequest], PredictRequest]
) -> list[Unit]:
    """Decode the requests of a message, and put those together that ask the same of small ready tensors.

    Such a request costs less to compute than to pass on, and most of that is the same for one row as for sixteen.
    One that has an id of its own stays alone: it gets a log line of its own.
    """
    units: list[Unit] = []
    open_units: dict[object, Unit] = {}
    for one in streamed:
        try:
            request = decode(one.request)
        except Exception as error:
            units.append(Unit([one.id], [], error=error))
            continue
        if request.request_id or not _is_small(request):
            units.append(Unit([one.id], [request], one.timeout_us))
            continue
        key = (request.heads, request.priority, request.routing_key, one.timeout_us)
        unit = open_units.get(key)
        if unit is None or len(unit) == MAX_ALIKE:
            unit = open_units[key] = Unit([], [], one.timeout_us)
            units.append(unit)
        unit.ids.append(one.id)
        unit.requests.append(request)
    return units


def _is_small(request: PredictRequest) -> bool:
    raw = request.raw
    return isinstance(raw, Mapping) and sum(array.nbytes for array in raw.values()) <= SMALL_BYTES
