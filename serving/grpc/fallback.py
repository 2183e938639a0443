"""What answers an rpc that does not exist: UNIMPLEMENTED, with what to do in its place."""

import difflib
from collections.abc import AsyncIterator, Iterable

import grpc

from serving.grpc.guard import Context, Handler

__all__ = ["Fallback"]

_TRITON = "/inference.GRPCInferenceService/"
_INSTEAD = {
    "RepositoryModelLoad": "Versions are loaded by promotion: `zoo promote <head>@<number> prod`.",
    "RepositoryModelUnload": "Versions are unloaded when no alias means them any more.",
    "SystemSharedMemory": "Send tensors in the message; this server does not reach into its callers' memory.",
    "CudaSharedMemory": "Send tensors in the message; this server does not reach into its callers' memory.",
    "TraceSetting": "Traces are not set by callers.",
    "LogSettings": "Logging is set where the server is started, not by callers.",
}


class Fallback(grpc.GenericRpcHandler):
    """Takes every call that no service takes; it is added last.

    Args:
        methods: full names of the rpcs that exist, of which the closest is named.
    """

    def __init__(self, methods: Iterable[str]) -> None:
        self._methods = tuple(methods)

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler:
        """Return a handler that refuses."""
        message = self._message(str(handler_call_details.method))

        async def refuse(_: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            await context.abort(grpc.StatusCode.UNIMPLEMENTED, message)
            yield b""

        return grpc.stream_stream_rpc_method_handler(refuse)

    def _message(self, method: str) -> str:
        name = method.removeprefix(_TRITON)
        for beginning, instead in _INSTEAD.items():
            if method.startswith(_TRITON) and name.startswith(beginning):
                return f"This server has no {name}. {instead}"
        close = difflib.get_close_matches(method, self._methods, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else " Its reflection service lists what there is."
        return f"This server has no method {method!r}.{hint}"
