"""One input, several heads, typed answers."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from serving.batching import Priority
from serving.errors import InvalidRequest
from serving.handlers.access import AccessLog
from serving.handlers.admission import Admission
from serving.handlers.asked import Asked, asked_head, shadows_of
from serving.handlers.asking import Answered, Asker
from serving.handlers.call import NOBODY, CallContext
from serving.handlers.shadowing import Shadowing
from serving.plan import Plan
from serving.statistics import outcome
from zoo.answers import Decoded, decode
from zoo.preprocessing.row import Raw

__all__ = ["HeadChoice", "PredictHandler", "PredictRequest", "PredictResponse", "Prediction"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadChoice:
    """A head, and which of its versions: a number or an alias, or empty for the default."""

    head: str
    version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictRequest:
    """One input and the heads that are asked for it."""

    raw: Raw
    heads: tuple[HeadChoice, ...]
    request_id: str = ""
    priority: Priority = Priority.NORMAL
    """Its place among the rows of its team."""
    routing_key: str = ""
    """Who asks, as far as a split alias is concerned: equal keys get the same side of it."""
    call: CallContext = NOBODY
    """Who calls, and the span that the call belongs to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One head's answer, and the version that gave it."""

    asked: Asked
    answer: Decoded


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictResponse:
    """The answers in the order in which the heads were asked."""

    predictions: tuple[Prediction, ...]
    request_id: str
    server_time_us: int


class PredictHandler:
    """Answers one input with typed answers.

    Args:
        asker: the way to the engine.
        admission: lets requests in.
        log: gets a line for each.
        clock: a monotonic clock, in seconds.
        new_id: makes an id for a request that brings none.
    """

    def __init__(
        self,
        asker: Asker,
        admission: Admission,
        log: AccessLog,
        clock: Callable[[], float] = time.monotonic,
        new_id: Callable[[], str] = lambda: os.urandom(16).hex(),
    ) -> None:
        self._asker = asker
        self._admission = admission
        self._log = log
        self._clock = clock
        self._new_id = new_id
        self._shadowing = Shadowing(lambda *row: asker.engine.statistics.record_shadow(*row), clock)

    @property
    def is_draining(self) -> bool:
        """Whether no further requests are let in."""
        return self._admission.is_closed

    async def wait_until_draining(self) -> None:
        """Return when no further requests are let in."""
        await self._admission.wait_until_closed()

    def refuse(self, error: Exception, *, choices: Sequence[HeadChoice], request_id: str, call: CallContext) -> None:
        """Log and count a request that could not be decoded, for the versions that it asked if there are such."""
        plan, heads = self._asker.engine.plan, "+".join(choice.head for choice in choices)
        self._log.refuse("Predict", request_id, call, heads, lambda: _asked(plan, choices, ""), outcome(error))

    async def predict(self, request: PredictRequest, *, deadline: float | None) -> PredictResponse:
        """Answer a request with every head that it names, or fail as a whole.

        Args:
            request: what is asked.
            deadline: by the engine's clock, in seconds.

        Raises:
            UnknownModel: a head, or its version, is not loaded.
            InvalidRequest: no head is asked, or one is asked twice for the same version.
            InvalidInput: the input does not fit a head's preprocessing.
            ServingError: whatever the engine refuses.
        """
        [response] = await self.predict_alike([request], deadline=deadline)
        return response

    async def predict_alike(
        self, requests: Sequence[PredictRequest], *, deadline: float | None
    ) -> Sequence[PredictResponse]:
        """Answer requests that differ in their input alone, as one of several rows: all of them, or none.

        They have one log line, under the id of the first, and count as one request.

        Args:
            requests: at least one.
            deadline: by the engine's clock, in seconds.

        Raises:
            Exception: what ``predict`` raises for one of them.
        """
        arrived, first = self._clock(), requests[0]
        request_id = first.request_id or self._new_id()
        with self._log.request("Predict", request_id, first.call) as entry, self._admission.enter():
            entry.heads = "+".join(choice.head for choice in first.heads)
            loaded = self._asker.engine.loaded
            asked = _asked(loaded.plan, first.heads, first.routing_key)
            entry.asked, entry.rows = asked, len(requests)
            served = [one.served for one in asked]
            answers = await self._asker.ask(
                [request.raw for request in requests],
                served,
                loaded=loaded,
                deadline=deadline,
                priority=first.priority,
                shadows=shadows_of(asked),
                trace=entry.trace,
            )
            self._shadowing.compare_soon(asked, answers)
            predictions = [
                tuple(Prediction(asked=one, answer=_decoded(one, answered)) for one in asked) for answered in answers
            ]
            took_us = round((self._clock() - arrived) * 1_000_000)
            return [
                PredictResponse(predictions=each, request_id=request_id, server_time_us=took_us) for each in predictions
            ]


def _asked(plan: Plan, choices: Sequence[HeadChoice], routing_key: str) -> tuple[Asked, ...]:
    if not choices:
        raise InvalidRequest("The request asks no head; name at least one.")
    if len(choices) > 1 and len(set(choices)) < len(choices):
        raise InvalidRequest("The request asks a head twice; name each once, or with different versions.")
    return tuple(asked_head(plan, choice.head, choice.version, routing_key) for choice in choices)


def _decoded(one: Asked, answered: Answered) -> Decoded:
    served = one.served
    return decode(served.manifest.answer, answered.outputs[served.digest], answered.rows[served.preprocessing])
