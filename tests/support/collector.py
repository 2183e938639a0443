"""A collector of OpenTelemetry spans on this machine: real gRPC, and nothing behind it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Condition
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as pb
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc

__all__ = ["Collector", "collector"]


@dataclass
class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    endpoint: str = ""
    spans: list[Any] = field(default_factory=list)
    services: set[str] = field(default_factory=set)
    arrived: Condition = field(default_factory=Condition)

    def Export(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802 - the wire names it
        with self.arrived:
            for resource in request.resource_spans:
                self.services |= {
                    attribute.value.string_value
                    for attribute in resource.resource.attributes
                    if attribute.key == "service.name"
                }
                for scope in resource.scope_spans:
                    self.spans.extend(scope.spans)
            self.arrived.notify_all()
        return pb.ExportTraceServiceResponse()

    def wait_for(self, count: int) -> list[Any]:
        """Return the spans as soon as there are so many."""
        with self.arrived:
            assert self.arrived.wait_for(lambda: len(self.spans) >= count, 30), self.spans
            return list(self.spans)


@contextmanager
def collector() -> Iterator[Collector]:
    """Run a collector on a free port until the block ends."""
    found = Collector()
    server = grpc.server(ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(found, server)  # type: ignore[no-untyped-call] # generated
    found.endpoint = f"http://localhost:{server.add_insecure_port('localhost:0')}"
    server.start()
    try:
        yield found
    finally:
        server.stop(None).wait()
