"""The service of typed answers."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import TypeAlias

from hydrazoo.predict.v1 import predict_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2_grpc

from serving.bounds import MAX_HEADS, check_count
from serving.errors import InvalidRequest, Unavailable
from serving.grpc.alike import Unit, units_of
from serving.grpc.as_done import Give, as_done
from serving.grpc.caller import Caller, caller_of
from serving.grpc.guard import Context
from serving.grpc.predict_messages import predict_request, write_refusal, write_response
from serving.grpc.status import Refusal, refusal
from serving.grpc.timing import deadline_of
from serving.handlers import PredictHandler
from serving.handlers.predict import HeadChoice, PredictRequest, PredictResponse

__all__ = ["PredictService"]

STREAM_WINDOW = 256
"""Requests of one stream in flight; a caller that sends more is slowed down by its connection."""

MAX_STREAMED_REQUESTS = 1024
"""Requests in one message of a stream."""

Outcome: TypeAlias = tuple[int, PredictResponse | Refusal]
"""The id of a streamed request, and what became of it."""


class PredictService(predict_pb2_grpc.PredictServiceServicer):
    """Decodes, calls the handler, encodes.

    Args:
        handler: answers.
        clock: the engine's clock, in seconds.
    """

    def __init__(self, handler: PredictHandler, *, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answer one input with every head that the request names."""
        deadline = deadline_of(context, self._clock)
        decoded = self._decoded(request, caller_of(context))
        response = pb.PredictResponse()
        write_response(response, await self._handler.predict(decoded, deadline=deadline))
        return response

    def _decoded(self, request: pb.PredictRequest, caller: Caller) -> PredictRequest:
        try:
            return predict_request(request, caller)
        except InvalidRequest as error:
            choices = [HeadChoice(head=head.name, version=str(head.number or head.alias)) for head in request.heads]
            self._handler.refuse(error, choices=choices[:MAX_HEADS], request_id=request.request_id, call=caller.context)
            raise

    async def PredictStream(
        self, requests: AsyncIterator[pb.PredictStreamRequest], context: Context
    ) -> AsyncIterator[pb.PredictStreamResponse]:
        """Answer a stream of requests, each by itself; a server that drains answers what it has read, and ends it."""
        caller, until = caller_of(context), deadline_of(context, self._clock)

        async def answer(unit: Unit, give: Give[Outcome]) -> None:
            await self._answer(unit, self._deadline(until, unit.timeout_us), give)

        async with aclosing(
            as_done(
                _units(requests, lambda message: self._decoded(message, caller)),
                answer,
                window=STREAM_WINDOW,
                ending=self._handler.wait_until_draining,
            )
        ) as outcomes:
            async for group in outcomes:
                yield _response(group)
        if self._handler.is_draining:
            raise Unavailable("The server is stopping; open another stream, there or with another server.")

    async def _answer(self, unit: Unit, deadline: float | None, give: Give[Outcome]) -> None:
        """Answer a unit; if it fails as a whole, ask for each of its requests alone, so that each fails alone."""
        try:
            if unit.error is not None:
                raise unit.error
            responses = await self._handler.predict_alike(unit.requests, deadline=deadline)
            give(zip(unit.ids, responses, strict=True))
        except Exception as error:
            if len(unit) == 1:
                give([(unit.ids[0], refusal(error))])
                return
            alone = (Unit([number], [one]) for number, one in zip(unit.ids, unit.requests, strict=True))
            await asyncio.gather(*(self._answer(each, deadline, give) for each in alone))

    def _deadline(self, until: float | None, timeout_us: int) -> float | None:
        if not timeout_us:
            return until
        deadline = self._clock() + timeout_us / 1_000_000
        return deadline if until is None else min(until, deadline)


async def _units(
    requests: AsyncIterator[pb.PredictStreamRequest], decode: Callable[[pb.PredictRequest], PredictRequest]
) -> AsyncIterator[Sequence[Unit]]:
    async for message in requests:
        check_count("requests in a message", len(message.requests), MAX_STREAMED_REQUESTS)
        if not message.requests:
            raise InvalidRequest("A message of the stream has no requests; send at least one in each.")
        yield units_of(message.requests, decode)


def _response(group: Sequence[Outcome]) -> pb.PredictStreamResponse:
    response = pb.PredictStreamResponse()
    for request_id, outcome in group:
        answer = response.answers.add()
        answer.id = request_id
        if isinstance(outcome, Refusal):
            write_refusal(answer.error, outcome)
        else:
            write_response(answer.response, outcome)
    return response
