import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import grpc
import pytest
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc

from serving.handlers.access import Ended, Entry
from serving.handlers.asked import Asked
from serving.handlers.call import CallContext
from serving.request import Trace
from serving.telemetry.trace_context import parse_traceparent
from tests.support.fake_runtime import served
from tests.support.serve_command import serve_arguments, serving
from tests.support.tiny_zoo import TinyZoo

pytest.importorskip("opentelemetry.sdk", reason="the extra `tracing` is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving.telemetry.spans import Tracing
from tests.support.collector import collector

TRACE_ID, SPAN_ID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
SAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-01"
UNSAMPLED = f"00-{TRACE_ID}-{SPAN_ID}-00"
INTENT = served("intent", ["body/0", "intent"])
UNIX_NS = 1_700_000_000_000_000_000
NOTED = Trace(
    arrived_s=100.0,
    submitted=True,
    queued_s=100.25,
    began_s=100.5,
    ended_s=101.0,
    stages=[("body/0", 100.5, 100.75), ("intent", 100.75, 101.0)],
    batch_rows=4,
    cached=2,
)


def ended(traceparent: str = SAMPLED, code: str = "ok", noted: Trace = NOTED) -> Ended:
    call = CallContext(peer="10.0.0.7", traceparent=traceparent)
    entry = Entry(rpc="Predict", request_id="42", call=call, heads="intent", rows=1, trace=noted)
    entry.asked = [Asked(served=INTENT, alias="prod", epoch=7)]
    return Ended(entry=entry, code=code, began_s=100.0, ended_s=101.5)


def spans_of(*requests: Ended) -> Sequence[ReadableSpan]:
    """Return the spans that are made of requests when the engine's clock says 110."""
    exporter = InMemorySpanExporter()
    tracing = Tracing(SimpleSpanProcessor(exporter), clock=lambda: 110.0, unix_ns=lambda: UNIX_NS)
    for request in requests:
        tracing.add(request)
    tracing.close()
    return exporter.get_finished_spans()


def times(span: ReadableSpan) -> tuple[float, float]:
    """Return when a span began and ended, by the engine's clock."""
    assert span.start_time is not None
    assert span.end_time is not None
    return (span.start_time - UNIX_NS) / 1e9 + 110, (span.end_time - UNIX_NS) / 1e9 + 110


def test_a_request_is_a_server_span_in_its_callers_trace_with_a_child_for_each_part() -> None:
    *parts, request = spans_of(ended())
    assert {(span.name, times(span)) for span in parts} == {
        ("preprocess", (100.0, 100.25)),
        ("queue", (100.25, 100.5)),
        ("stage body/0", (100.5, 100.75)),
        ("stage intent", (100.75, 101.0)),
    }
    assert (request.name, request.kind.name, times(request)) == ("Predict", "SERVER", (100.0, 101.5))
    assert request.parent is not None
    assert format(request.parent.span_id, "016x") == SPAN_ID
    for span in (request, *parts):
        assert span.context is not None
        assert format(span.context.trace_id, "032x") == TRACE_ID
    assert request.context is not None
    assert {span.parent.span_id for span in parts if span.parent} == {request.context.span_id}


def test_a_span_says_what_answered_and_how() -> None:
    request = spans_of(ended())[-1]
    assert request.attributes is not None
    assert {name: request.attributes[name] for name in request.attributes if name.startswith("hydrazoo.")} == {
        "hydrazoo.request_id": "42",
        "hydrazoo.status": "ok",
        "hydrazoo.heads": ("intent",),
        "hydrazoo.version_digests": (INTENT.digest,),
        "hydrazoo.alias_epochs": (7,),
        "hydrazoo.rows": 1,
        "hydrazoo.batch_rows": 4,
        "hydrazoo.cached": 2,
        "hydrazoo.cache_hit": True,
    }


def test_a_request_that_failed_is_an_error_and_waited_until_it_was_given_up() -> None:
    noted = Trace(arrived_s=100.0, queued_s=100.25)
    preprocess, queue, request = spans_of(ended(code="serving.deadline_exceeded", noted=noted))
    assert (preprocess.name, queue.name, times(queue)) == ("preprocess", "queue", (100.25, 101.5))
    assert (request.status.status_code.name, request.status.description) == ("ERROR", "serving.deadline_exceeded")


def test_what_the_cache_answered_did_not_wait() -> None:
    noted = Trace(arrived_s=100.0, queued_s=100.25, cached=3)
    assert [span.name for span in spans_of(ended(noted=noted))] == ["preprocess", "Predict"]


@pytest.mark.parametrize(("traceparent", "wanted"), [(SAMPLED, True), (UNSAMPLED, False), ("", True), ("mist", True)])
def test_the_caller_decides_whether_its_trace_is_recorded(traceparent: str, wanted: bool) -> None:
    tracing = Tracing(SimpleSpanProcessor(InMemorySpanExporter()))
    assert tracing.wants(traceparent) is wanted
    tracing.close()


def test_a_call_without_a_trace_begins_one_unless_the_sampler_says_no(monkeypatch: pytest.MonkeyPatch) -> None:
    (*_, begun) = spans_of(ended(traceparent=""))
    assert begun.parent is None
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    assert spans_of(ended(traceparent="")) == ()
    assert len(spans_of(ended(traceparent=SAMPLED))) == 5


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "00-0-0-0",
        f"ff-{TRACE_ID}-{SPAN_ID}-01",
        f"00-{'0' * 32}-{SPAN_ID}-01",
        f"00-{TRACE_ID}-{'0' * 16}-01",
    ],
)
def test_what_is_no_traceparent_is_ignored(text: str) -> None:
    assert parse_traceparent(text) is None


def test_a_traceparent_of_a_later_version_is_read_as_far_as_it_is_known() -> None:
    found = parse_traceparent(f"01-{TRACE_ID}-{SPAN_ID}-03-more")
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE_ID, SPAN_ID, True)


def test_spans_of_a_served_request_reach_a_collector(tiny: TinyZoo) -> None:
    with collector() as found, serving(tiny.folder, "--trace-endpoint", found.endpoint) as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}])
            stub.Predict(request, metadata=[("traceparent", UNSAMPLED)])
            stub.Predict(request, metadata=[("traceparent", SAMPLED)])  # which the cache answers
        assert server.stop() == 0
        spans = {span.name: span for span in found.wait_for(2)}
        root = spans["Predict"]
        assert (root.trace_id.hex(), root.parent_span_id.hex()) == (TRACE_ID, SPAN_ID)
        assert sum(span.name == "Predict" for span in found.spans) == 1
        assert found.services == {"hydrazoo"}
        assert all(root.start_time_unix_nano <= span.start_time_unix_nano for span in spans.values())
        assert all(span.end_time_unix_nano <= root.end_time_unix_nano for span in spans.values())


def test_stages_of_a_served_request_are_spans(tiny: TinyZoo) -> None:
    with collector() as found, serving(tiny.folder, "--trace-endpoint", found.endpoint) as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            heads = [{"name": "intent"}, {"name": "pii"}]
            stub.Predict(predict_pb2.PredictRequest(text="hello", heads=heads), metadata=[("traceparent", SAMPLED)])
        assert server.stop() == 0
        names = sorted(span.name for span in found.wait_for(8))
    stages = ["intent", "pii", "pii/tail", "tiny/0", "tiny/1"]
    assert names == sorted(["Predict", "preprocess", "queue", *(f"stage {name}" for name in stages)])


def test_a_server_whose_collector_is_gone_answers_and_stops_all_the_same(tiny: TinyZoo) -> None:
    with serving(tiny.folder, "--trace-endpoint", "http://localhost:1") as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}])
            assert stub.Predict(request, metadata=[("traceparent", SAMPLED)]).predictions
        assert server.stop() == 0


def test_without_the_extra_the_flag_says_what_to_install(tmp_path: Path) -> None:
    code = "import sys; sys.modules['opentelemetry'] = None\nfrom zoo.commands import main; main()"
    words = serve_arguments(tmp_path, "--trace-endpoint", "http://localhost:4317")[3:]
    found = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert found.returncode == 1
    (line,) = found.stderr.strip().splitlines()
    assert 'pip install "hydrazoo-platform[tracing]"' in line
