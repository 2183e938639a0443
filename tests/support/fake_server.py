"""A real gRPC server on loopback whose answers a test decides, to see what a client does with them."""

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent import futures
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc

from zoo.masks import Mask

__all__ = ["Ask", "Failure", "FakeServer", "fake_server"]

DIGEST = "ab" * 32

Ask = Callable[..., Any]
"""Calls a method of a new client; see ``tests/client/conftest.py``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """How a call ends."""

    status: grpc.StatusCode
    message: str = "no"
    metadata: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class FakeServer(predict_pb2_grpc.PredictServiceServicer, registry_pb2_grpc.RegistryServiceServicer):
    """Fails the next calls as told, and answers those after them.

    Attributes:
        target: where it listens.
        failures: of the next calls, in order.
        delay_s: before each answer.
        requests: every request that came.
        user_agent: what the last caller said it is.
        metadata: what came beside the last call's message.
        streamed: how many requests each message of a stream held.
        timeouts_us: how long each request of a stream said that it waits.
        messages_until_cut: after how many messages of a stream it is cut off; 0 for never.
    """

    target: str = ""
    failures: deque[Failure] = field(default_factory=deque)
    delay_s: float = 0.0
    requests: list[Any] = field(default_factory=list)
    user_agent: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    streamed: list[int] = field(default_factory=list)
    timeouts_us: list[int] = field(default_factory=list)
    messages_until_cut: int = 0
    page_size: int = 2

    def Predict(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        return self._answer(request)

    def PredictStream(self, messages: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._note(context)
        for count, message in enumerate(messages, start=1):
            self.streamed.append(len(message.requests))
            self.requests.extend(one.request for one in message.requests)
            self.timeouts_us.extend(one.timeout_us for one in message.requests)
            if count == self.messages_until_cut:
                self.messages_until_cut = 0
                context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
            time.sleep(self.delay_s)
            answers = [self._streamed(one) for one in message.requests]
            yield predict_pb2.PredictStreamResponse(answers=reversed(answers))

    def ListHeads(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        alias = registry_pb2.Alias(name="prod", number=6, epoch=3)
        heads = [registry_pb2.Head(name=name, latest_number=7, aliases=[alias]) for name in "abcde"]
        start, token = self._page(request, len(heads))
        return registry_pb2.ListHeadsResponse(heads=heads[start : start + self.page_size], next_page_token=token)

    def ListVersions(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        versions = [self._version(request.head, number) for number in (3, 2, 1)]
        start, token = self._page(request, len(versions))
        page = versions[start : start + self.page_size]
        return registry_pb2.ListVersionsResponse(versions=page, next_page_token=token)

    def GetVersion(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        return registry_pb2.GetVersionResponse(version=self._version("intent", 7), manifest_json='{"head":"intent"}')

    def Resolve(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        return registry_pb2.ResolveResponse(version=self._version("intent", 6), alias="prod", alias_epoch=3)

    def ListPromotions(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        self._arrive(request, context)
        moves = [
            registry_pb2.Promotion(alias=request.alias or "prod", epoch=epoch, number=epoch, by="a team", reason="why")
            for epoch in (3, 2, 1)
        ]
        start, token = self._page(request, len(moves))
        page = moves[start : start + self.page_size]
        return registry_pb2.ListPromotionsResponse(promotions=page, next_page_token=token)

    def _arrive(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self._note(context)
        if self.failures:
            failure = self.failures.popleft()
            context.set_trailing_metadata(failure.metadata)
            context.abort(failure.status, failure.message)
        time.sleep(self.delay_s)

    def _note(self, context: grpc.ServicerContext) -> None:
        self.metadata = {key: str(value) for key, value in context.invocation_metadata()}
        self.user_agent = self.metadata.get("user-agent", "")

    def _answer(self, request: Any) -> Any:
        predictions = [self._prediction(selector) for selector in request.heads]
        return predict_pb2.PredictResponse(
            predictions=predictions, request_id=request.request_id or "made-here", server_time_us=1500
        )

    def _streamed(self, one: Any) -> Any:
        if not self.failures:
            return predict_pb2.StreamedAnswer(id=one.id, response=self._answer(one.request))
        failure = self.failures.popleft()
        told = dict(failure.metadata)
        error = predict_pb2.StreamedError(
            status=failure.status.value[0],
            message=failure.message,
            code=told.get("hydrazoo-error-code", ""),
            retry_after_ms=int(told.get("grpc-retry-pushback-ms", 0)),
        )
        return predict_pb2.StreamedAnswer(id=one.id, error=error)

    def _page(self, request: Any, total: int) -> tuple[int, str]:
        start = int(request.page_token or "0")
        end = start + self.page_size
        return start, str(end) if end < total else ""

    @staticmethod
    def _version(head: str, number: int) -> Any:
        version = registry_pb2.Version(
            head=head, number=number, digest=DIGEST, path_digest="cd" * 32, created_by="a team"
        )
        version.created_at.FromSeconds(1_700_000_000 + number)
        return version

    @staticmethod
    def _prediction(selector: Any) -> Any:
        """Answer as the first letters of the head's name say, with the version that was asked for."""
        number = selector.number or 6
        alias = "" if selector.number else selector.alias or "prod"
        version = predict_pb2.ModelVersion(number=number, digest=DIGEST, alias=alias, alias_epoch=3 if alias else 0)
        scores = [predict_pb2.LabelScore(label="a", score=0.25), predict_pb2.LabelScore(label="b", score=0.75)]
        span = predict_pb2.Span(label="email", start=1, end=4, text="x@y", score=0.5)
        answers: dict[str, dict[str, Any]] = {
            "intent": {"classification": predict_pb2.Classification(label="b", scores=scores)},
            "topics": {"multilabel": predict_pb2.Multilabel(labels=["b"], scores=scores)},
            "urgency": {"regression": predict_pb2.Regression(value=7.5, low=0, high=10)},
            "pii": {"tagging": predict_pb2.Tagging(spans=[span])},
            "similar": {"embedding": predict_pb2.Embedding(vector=[0.5, -0.5, 0.5, 0.5])},
            "mask": {"segmentation": segmentation()},
        }
        return predict_pb2.Prediction(head=selector.name, version=version, **answers.get(selector.name, {}))


def segmentation() -> Any:
    """Return a mask of four pixels, of which the last belongs to a glyph."""
    shares = [predict_pb2.LabelShare(label="ground", share=0.75), predict_pb2.LabelShare(label="glyph", share=0.25)]
    return predict_pb2.Segmentation(
        mask_png=Mask(height=2, width=2, pixels=bytes([0, 0, 0, 1])).to_png(), height=2, width=2, shares=shares
    )


@contextmanager
def fake_server(
    *, credentials: grpc.ServerCredentials | None = None, max_receive_bytes: int = -1, port: int = 0
) -> Iterator[FakeServer]:
    """Run a server until the block ends."""
    options = [("grpc.max_receive_message_length", max_receive_bytes)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=4), options=options)
    fake = FakeServer()
    predict_pb2_grpc.add_PredictServiceServicer_to_server(fake, server)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(fake, server)
    if credentials is None:
        bound = server.add_insecure_port(f"localhost:{port}")
    else:
        bound = server.add_secure_port(f"localhost:{port}", credentials)
    fake.target = f"localhost:{bound}"
    server.start()
    try:
        yield fake
    finally:
        server.stop(grace=None).wait()
