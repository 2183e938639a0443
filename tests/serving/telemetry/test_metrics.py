"""Metrics over real HTTP, of a real server that was asked a known number of things over real gRPC."""

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from serving.cache import NodeCache
from serving.errors import AddressUnavailable
from serving.plan import AliasTarget, LoadedPlan, LoadFailure
from serving.statistics import Statistics
from serving.telemetry.endpoint import MetricsServer
from serving.telemetry.metrics import ServerMetrics
from tests.support.fake_runtime import FakeRuntime, loaded_plan, served
from tests.support.running_server import Running
from tests.support.scraping import Scraped, scrape
from tests.support.tiny_zoo import TinyZoo
from tests.support.wire import refused, text_request
from zoo import Move, Zoo


def predict(server: Running, text: str, *heads: str) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = predict_pb2_grpc.PredictServiceStub(channel)
        stub.Predict(predict_pb2.PredictRequest(text=text, heads=[{"name": head} for head in heads]))


def read(server: Running) -> Scraped:
    return scrape(server.server.metrics_address)


def until(condition: Callable[[], bool]) -> None:
    pause = threading.Event()
    for _ in range(500):
        if condition():
            return
        pause.wait(0.02)
    raise AssertionError("it never became true")


def team_of(server: Running, head: str) -> str:
    (version,) = (version for version in server.engine.plan.versions if version.head == head)
    return version.manifest.team


def test_the_numbers_are_those_of_what_was_asked(server: Running) -> None:
    for number in range(3):
        predict(server, f"refund order {number}", "intent", "urgency")
    predict(server, "hello", "pii")
    until(lambda: read(server).value("rpcs_total", rpc="Predict", code="ok") == 4)
    found = read(server)
    for head, asked in (("intent", 3), ("urgency", 3), ("pii", 1)):
        team = team_of(server, head)
        assert found.value("requests_total", head=head, team=team, code="ok") == asked
        assert found.value("request_seconds_count", head=head, team=team) == asked
        assert found.value("rows_total", head=head, team=team) == asked
        assert found.value("queue_seconds_count", head=head, team=team) == asked
        assert found.value("version_requests_total", head=head, version="1", code="ok") == asked
        assert found.value("cache_answers_total", head=head, team=team, result="miss") == asked
    stages = {labels["stage"].split("@")[0]: labels["stage"] for labels in found.labels("stage_run_seconds_count")}
    runs = {name: found.value("stage_rows_sum", stage=label) for name, label in stages.items()}
    assert runs == {"tiny/0": 4, "tiny/1": 3, "pii/tail": 1, "intent": 3, "urgency": 3, "pii": 1}
    batches = sum(found.value("batches_total", **labels) for labels in found.labels("batches_total"))
    assert batches == found.value("batch_rows_count") == found.value("batch_padding_ratio_count") == 4
    assert found.value("real_tokens_total") == found.value("padded_tokens_total") > 0
    assert found.value("plan_epoch") == 3
    assert (found.value("ready"), found.value("loaded_versions")) == (1, 3)


def test_what_the_cache_answers_is_a_request_and_no_row_of_a_batch(server: Running) -> None:
    for _ in range(2):
        predict(server, "refund please", "intent")
    until(lambda: read(server).value("rpcs_total", rpc="Predict", code="ok") == 2)
    found, team = read(server), team_of(server, "intent")
    assert found.value("requests_total", head="intent", team=team, code="ok") == 2
    assert found.value("rows_total", head="intent", team=team) == 1
    assert found.value("cache_answers_total", head="intent", team=team, result="hit") == 1


def test_requests_that_were_refused_before_the_engine_failed_for_the_versions_that_they_asked(server: Running) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = open_inference_pb2_grpc.GRPCInferenceServiceStub(channel)
        with refused():
            stub.ModelInfer(text_request("intent", "hello", outputs=[{"name": "nope"}]))
        with refused():
            stub.ModelInfer(text_request("intent", "please " * 1000))
        broken = text_request("intent", "hello")
        broken.raw_input_contents[0] = b"nonsense"
        with refused():
            stub.ModelInfer(broken)
        with refused():
            stub.ModelInfer(text_request("ocr", "hello"))
        (statistics,) = stub.ModelStatistics(pb.ModelStatisticsRequest(name="intent")).model_stats
    assert statistics.inference_stats.fail.count == 3
    assert statistics.inference_stats.success.count == 0
    found, team = read(server), team_of(server, "intent")
    assert found.value("requests_total", head="intent", team=team, code="serving.invalid_request") == 2
    assert found.value("requests_total", head="intent", team=team, code="zoo.too_long") == 1
    assert found.value("rpcs_total", rpc="ModelInfer", code="serving.unknown_model") == 1


def test_registry_calls_are_counted_too(server: Running) -> None:
    with grpc.insecure_channel(server.address) as channel:
        stub = registry_pb2_grpc.RegistryServiceStub(channel)
        stub.ListHeads(registry_pb2.ListHeadsRequest())
        with refused():
            stub.Resolve(registry_pb2.ResolveRequest(reference="nope@prod"))
    found = read(server)
    assert found.value("rpcs_total", rpc="ListHeads", code="ok") == 1
    assert found.value("rpc_seconds_count", rpc="Resolve") == 1


def test_a_version_that_is_not_loaded_any_more_has_no_series_and_stays_in_the_totals_of_its_head(
    server: Running, tiny: TinyZoo
) -> None:
    predict(server, "one", "intent")
    with Zoo.open(tiny.folder) as zoo:
        tiny.publish(zoo, "intent", seed=1, promote_to=())
        zoo.promote([Move("intent", "prod", 2)], by="someone", reason="better")
    until(lambda: read(server).value("alias_epoch", head="intent", alias="prod") == 2)
    predict(server, "two", "intent")
    until(lambda: read(server).value("rpcs_total", rpc="Predict", code="ok") == 2)
    found = read(server)
    assert [labels["version"] for labels in found.labels("version_rows_total")] == ["2"]
    assert found.value("requests_total", head="intent", team=team_of(server, "intent"), code="ok") == 2
    assert found.value("plan_swaps_total", result="done") == 2
    stages = [labels["stage"].split("@")[0] for labels in found.labels("stage_rows_count")]
    assert sorted(stages) == ["intent", "tiny/0", "tiny/1"]


def test_callers_make_no_series(server: Running) -> None:
    def series() -> int:
        return len(read(server).samples)

    with refused():
        predict(server, "hello", "nope")
    before = series()
    for number in range(20):
        with refused():
            predict(server, "hello", f"nope{number}")
    assert series() == before


def test_metrics_live_until_the_server_has_left(server: Running) -> None:
    address = server.server.metrics_address
    seen: list[float] = []
    real = server.engine.close

    async def close(grace_s: float = 10.0) -> None:
        await real(grace_s)
        if not seen:
            seen.append(scrape(address).value("ready"))

    server.engine.close = close  # type: ignore[method-assign]
    server.stop().result(30)
    assert seen == [0]
    with pytest.raises(OSError, match="refused"):
        scrape(address)


def test_a_metrics_address_in_use_is_told_before_anything_is_loaded() -> None:
    first = MetricsServer("localhost:0")
    try:
        with pytest.raises(AddressUnavailable, match="another process listens there"):
            MetricsServer(first.address)
    finally:
        first.close()


def fake_metrics(loaded: LoadedPlan, statistics: Statistics) -> ServerMetrics:
    engine = SimpleNamespace(statistics=statistics, loaded=loaded, ready=True, waiting_rows=0, cache=NodeCache(0))
    return ServerMetrics(engine, runtime="onnx", device="cpu")


def everything() -> ServerMetrics:
    plan = loaded_plan([served("intent", ["body/0", "intent"])], FakeRuntime())
    return fake_metrics(plan, Statistics(lambda: 1.0))


def test_a_canary_its_share_and_a_shadow_are_told_by_version() -> None:
    live, canary, shadow = (served("intent", ["body/0", "intent"], number=number, aliases={}) for number in (1, 2, 3))
    target = AliasTarget(
        head="intent", alias="prod", epoch=4, live=live, canary=canary, canary_percent=10, shadows=(shadow,)
    )
    loaded = loaded_plan([live, canary, shadow], FakeRuntime())
    failure = LoadFailure(head="intent", alias="prod", number=4, digest="f" * 64, cause="it is broken")
    statistics = Statistics(lambda: 1.0)
    statistics.record_shadow(shadow, "agreed")
    statistics.record_shadow(shadow, "disagreed")
    statistics.record_swap(9, 0.5, ok=False)
    plan = replace(loaded, plan=replace(loaded.plan, targets=(target,)), epoch=9, failures=(failure,))
    samples = {
        (sample.name.removeprefix("hydrazoo_"), *sample.labels.values()): sample.value
        for family in fake_metrics(plan, statistics).collect()
        for sample in family.samples
    }
    assert samples["canary_share_ratio", "intent", "prod", "2"] == 0.1
    assert samples["alias_epoch", "intent", "prod"] == 4
    assert samples["shadow_rows_total", "intent", "3", "agreed"] == 1
    assert samples["shadow_rows_total", "intent", "3", "disagreed"] == 1
    assert samples["load_failures", "intent", "prod", "4"] == 1
    assert (samples["plan_epoch",], samples["plan_complete",]) == (9, 0)
    assert samples["plan_swaps_total", "failed"] == 1


def documented() -> set[str]:
    page = Path(__file__).parents[3] / "docs" / "operating.md"
    rows = [line.split("|")[1].strip() for line in page.read_text().splitlines() if line.startswith("| `hydrazoo_")]
    return {name.strip("`") for name in rows}


def test_every_metric_is_described_for_the_person_on_call_and_no_other() -> None:
    exposed = {f"{family.name}_total" if family.type == "counter" else family.name for family in everything().collect()}
    assert documented() == exposed


def test_every_metric_says_what_it_is() -> None:
    registry = CollectorRegistry()
    registry.register(everything())
    assert all(family.documentation.endswith(".") for family in everything().collect())
    assert b"# HELP hydrazoo_queue_seconds How long rows waited for their batch.\n" in generate_latest(registry)
