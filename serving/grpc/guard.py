"""What stands before every call: bytes that do not parse, and errors, become statuses."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from serving.errors import InvalidRequest
from serving.grpc.status import refusal

__all__ = ["Context", "Guard", "Handler", "Malformed"]

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a message whose bytes did not parse; gRPC itself would call that UNKNOWN."""

    error: InvalidRequest


class Guard(grpc.aio.ServerInterceptor):
    """Ends failed calls with the status of their error.

    Args:
        tolerant: full names of the streaming rpcs that take ``Malformed`` messages themselves, because one bad
            message is not to end their stream.
    """

    def __init__(self, tolerant: frozenset[str] = frozenset()) -> None:
        self._tolerant = tolerant
        self._guarded: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable["Handler | None"]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Return the rpc's handler, guarded."""
        method = str(handler_call_details.method)
        guarded = self._guarded.get(method)
        if guarded is None:
            handler = await continuation(handler_call_details)
            if handler is None:
                return None
            guarded = _guarded(handler, tolerant=method in self._tolerant)
            if handler.request_deserializer is not None:  # a handler that takes any method would fill the table
                self._guarded[method] = guarded
        return guarded


def _guarded(handler: Any, *, tolerant: bool) -> Handler:
    parse = _parser(handler.request_deserializer)
    write = handler.response_serializer
    if handler.unary_unary:
        return grpc.unary_unary_rpc_method_handler(_answer_one(handler.unary_unary), parse, write)
    if handler.unary_stream:
        return grpc.unary_stream_rpc_method_handler(_answer_many(handler.unary_stream), parse, write)
    if handler.stream_stream:
        behaviour = handler.stream_stream if tolerant else _strict(handler.stream_stream)
        return grpc.stream_stream_rpc_method_handler(_answer_many(behaviour), parse, write)
    raise AssertionError("no service has an rpc that takes a stream and gives one answer")


def _parser(parse: Callable[[bytes], Any] | None) -> Callable[[bytes], Any] | None:
    if parse is None:
        return None

    def parse_or_say_why(data: bytes) -> Any:
        try:
            return parse(data)
        except DecodeError:
            return Malformed(
                InvalidRequest(
                    f"The {len(data)} bytes of the request are not the message that this call takes; "
                    "generate your stubs from this server's protos (it has reflection), and send text as UTF-8."
                )
            )

    return parse_or_say_why


def _answer_one(behaviour: Unary) -> Unary:
    async def answer(request: Any, context: Context) -> Any:
        try:
            if isinstance(request, Malformed):
                raise request.error
            return await behaviour(request, context)
        except Exception as error:
            return await _abort(context, error)

    return answer


def _answer_many(behaviour: Streaming) -> Streaming:
    async def answer(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            if isinstance(request, Malformed):
                raise request.error
            async for response in behaviour(request, context):
                yield response
        except Exception as error:
            await _abort(context, error)

    return answer


def _strict(behaviour: Streaming) -> Streaming:
    async def requests(iterator: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in iterator:
            if isinstance(request, Malformed):
                raise request.error
            yield request

    return lambda iterator, context: behaviour(requests(iterator), context)


async def _abort(context: Context, error: Exception) -> None:
    if isinstance(error, grpc.aio.AbortError):
        raise error
    ended = refusal(error)
    # gRPC keeps what ended a call in a cycle; the frames of it would keep the plan that the call began with.
    error.__traceback__ = None
    await context.abort(ended.status, ended.message, ended.metadata)
