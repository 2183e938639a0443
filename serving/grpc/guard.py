"""What stands before every call: bytes that do not parse, and errors, become statuses."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from serving.errors import InvalidRequest
from serving.grpc.status import refusal

__all__ = ["Context", "Handler", "Malformed", "Table"]

Context = grpc.aio.ServicerContext[Any, Any]
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Unary = Callable[[Any, Context], Awaitable[Any]]
Streaming = Callable[[Any, Context], AsyncIterator[Any]]


@dataclass(frozen=True, slots=True)
class Malformed:
    """Stands for a message whose bytes did not parse; gRPC itself would call that UNKNOWN."""

    error: InvalidRequest


class Table(grpc.GenericRpcHandler):
    """Every rpc of a server by its name, guarded: failed calls end with the status of their error.

    Generated code takes it for the server that services are added to. A server that had each method registered would
    keep an accept pending for each, and wait anew for all of them with every call.

    Args:
        tolerant: full names of the streaming rpcs that take ``Malformed`` messages themselves, because one bad
            message is not to end their stream.
        fallback: takes what no service does.
    """

    def __init__(self, tolerant: frozenset[str], fallback: grpc.GenericRpcHandler) -> None:
        self._tolerant = tolerant
        self._fallback = fallback
        self._services: list[grpc.GenericRpcHandler] = []
        self._guarded: dict[str, Handler] = {}

    def add_generic_rpc_handlers(self, services: Iterable[grpc.GenericRpcHandler]) -> None:
        """Take the methods of services."""
        self._services.extend(services)

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Handler]) -> None:
        """Nothing to do: these methods come as a service too."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """Return the handler of a call."""
        method = str(handler_call_details.method)
        guarded = self._guarded.get(method)
        if guarded is None:
            found = (service.service(handler_call_details) for service in self._services)
            handler = next((each for each in found if each is not None), None)
            if handler is None:
                return self._fallback.service(handler_call_details)
            guarded = self._guarded[method] = _guarded(handler, tolerant=method in self._tolerant)
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
            _refuse(context, error)
            return None

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


def _refuse(context: Context, error: Exception) -> None:
    """End a call that has one answer: cheaper than ``abort``, which raises and sends for itself."""
    ended = refusal(error)
    error.__traceback__ = None
    context.set_code(ended.status)
    context.set_details(ended.message)
    context.set_trailing_metadata(ended.metadata)
