"""The blocking client."""

import json
import time
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import grpc
from hydrazoo.client import calls, codec, registry
from hydrazoo.client.answers import Predictions
from hydrazoo.client.codec import Priority
from hydrazoo.client.errors import Unavailable
from hydrazoo.client.registry import Head, Promotion, Resolved, Version
from hydrazoo.client.sync_stream import Stream
from hydrazoo.predict.v1.predict_pb2_grpc import PredictServiceStub
from hydrazoo.registry.v1 import registry_pb2
from hydrazoo.registry.v1.registry_pb2_grpc import RegistryServiceStub
from numpy.typing import NDArray

__all__ = ["Client"]


class Client:
    """Asks a Hydrazoo server. A context manager; safe to share between threads.

    Args:
        target: host and port of the server.
        credentials: for TLS, such as ``grpc.ssl_channel_credentials()``; without any, the connection is plain.
        timeout_s: the deadline of calls that set none.
        wait_for_ready: whether a call waits, up to its deadline, for a server that is not there yet.
        retries: whether a call is made again where that is safe; see ``hydrazoo.client.calls``.
    """

    def __init__(
        self,
        target: str = calls.DEFAULT_TARGET,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        timeout_s: float = calls.DEFAULT_TIMEOUT_S,
        wait_for_ready: bool = False,
        retries: bool = True,
    ) -> None:
        options = calls.channel_options(retries=retries)
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options)
        else:
            self._channel = grpc.secure_channel(target, credentials, options)
        self._target = target
        self._timeout_s = timeout_s
        self._wait_for_ready = wait_for_ready
        self._retries = retries
        self._predict = PredictServiceStub(self._channel)
        self._registry = RegistryServiceStub(self._channel)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection; calls in flight are cancelled."""
        self._channel.close()

    def predict(
        self,
        *,
        heads: str | Sequence[str],
        text: str | None = None,
        image: bytes | None = None,
        tensors: Mapping[str, NDArray[Any]] | None = None,
        timeout_s: float | None = None,
        request_id: str = "",
        priority: Priority = "normal",
        routing_key: str = "",
        traceparent: str = "",
    ) -> Predictions:
        """Ask one or several heads about one input.

        Args:
            heads: ``"intent"`` (the server's default), ``"intent@7"`` (a version) or ``"intent@canary"`` (an alias).
            text: the input, if it is a text.
            image: the input, if it is an image: the bytes of a JPEG or PNG file.
            tensors: the input, if it is preprocessed: arrays by name, without a batch axis.
            timeout_s: the deadline, retries included; the client's own if it is not given.
            request_id: finds this request in the server's log; the server makes one if it is empty.
            priority: its place among the waiting requests of the same teams: "high", "normal" or "low".
            routing_key: who asks; equal keys get the same side of an alias that is split. Empty: this machine.
            traceparent: the span that the call belongs to, as W3C trace context writes it; empty for none.

        Returns:
            One typed answer a head, or none at all: a call fails as a whole.

        Raises:
            HydrazooError: see ``hydrazoo.client.errors``.
        """
        asked = codec.references(heads)
        request = codec.encode_request(
            asked,
            text=text,
            image=image,
            tensors=tensors,
            request_id=request_id,
            priority=priority,
            routing_key=routing_key,
        )
        metadata = calls.metadata_of(traceparent)
        response = self._call(self._predict.Predict, request, timeout_s, metadata)
        return codec.decode_predictions(asked, response)

    def stream(self, *, traceparent: str = "") -> Stream:
        """Open a stream, over which many requests go at less cost each: see ``Stream``.

        Args:
            traceparent: the span that its requests belong to, as W3C trace context writes it; empty for none.
        """
        return Stream(
            lambda messages: self._predict.PredictStream(
                messages, wait_for_ready=self._wait_for_ready, metadata=calls.metadata_of(traceparent)
            ),
            target=self._target,
            timeout_s=self._timeout_s,
            retries=self._retries,
        )

    def heads(self) -> list[Head]:
        """List the heads of the zoo with their newest version and aliases."""
        pages = self._pages(self._registry.ListHeads, registry_pb2.ListHeadsRequest())
        return [registry.decode_head(head) for page in pages for head in page.heads]

    def versions(self, head: str) -> list[Version]:
        """List the versions of a head, newest first."""
        pages = self._pages(self._registry.ListVersions, registry_pb2.ListVersionsRequest(head=head))
        return [registry.decode_version(version) for page in pages for version in page.versions]

    def resolve(self, reference: str) -> Resolved:
        """Say which version ``head``, ``head@number``, ``head@alias`` or ``head@digest`` means now."""
        request = registry_pb2.ResolveRequest(reference=reference)
        return registry.decode_resolved(self._call(self._registry.Resolve, request, None))

    def manifest(self, reference: str) -> dict[str, Any]:
        """Return the manifest of a version: everything that made it."""
        request = registry_pb2.GetVersionRequest(reference=reference)
        found: dict[str, Any] = json.loads(self._call(self._registry.GetVersion, request, None).manifest_json)
        return found

    def history(self, head: str, alias: str = "") -> list[Promotion]:
        """List the promotions of a head, newest first; of one alias only, if it is given."""
        request = registry_pb2.ListPromotionsRequest(head=head, alias=alias)
        pages = self._pages(self._registry.ListPromotions, request)
        return [registry.decode_promotion(promotion) for page in pages for promotion in page.promotions]

    def ready(self, *, timeout_s: float = 1.0) -> bool:
        """Say whether the server is there and answers predictions."""
        check: Any = self._channel.unary_unary(calls.HEALTH_METHOD)
        try:
            return bool(check(calls.HEALTH_REQUEST, timeout=timeout_s) == calls.SERVING)
        except grpc.RpcError:
            return False

    def wait_until_ready(self, *, timeout_s: float) -> None:
        """Return once the server answers predictions.

        Raises:
            Unavailable: it does not, in this time.
        """
        deadline = time.monotonic() + timeout_s
        while not self.ready(timeout_s=calls.patience_s(deadline - time.monotonic())):
            if time.monotonic() > deadline:
                raise Unavailable(f"The server at {self._target} was not ready within {timeout_s:g} s.")
            time.sleep(calls.READY_POLL_S)

    def _call(self, method: Any, request: Any, timeout_s: float | None, metadata: calls.Metadata = ()) -> Any:
        tries = calls.Tries(self._target, self._timeout_s if timeout_s is None else timeout_s, retries=self._retries)
        while True:
            try:
                return method(request, timeout=tries.left_s(), wait_for_ready=self._wait_for_ready, metadata=metadata)
            except grpc.RpcError as error:
                pause_s = tries.pause_after(error)
            time.sleep(pause_s)

    def _pages(self, method: Any, request: Any) -> list[Any]:
        pages: list[Any] = []
        while not pages or request.page_token:
            pages.append(self._call(method, request, None))
            request.page_token = pages[-1].next_page_token
        return pages
