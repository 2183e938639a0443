"""What callers get is the same, whether the engine's process answers them or front ends of their own do."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc

from serving.frontends import FrontEndSettings
from serving.frontends.supervisor import Supervisor
from serving.grpc.services import SERVICES
from serving.runtimes import open_runtime
from serving.server import Server
from tests.support.many_channels import many_channels
from tests.support.running_server import Running, running
from tests.support.scraping import scrape
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from tests.support.wire import outputs_of, refused, text_request, texts
from zoo import Zoo

TEXT = "please refund order 4711, i live in 12 address street"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module", params=[0, 2], ids=["one process", "two front ends"])
def server(request: pytest.FixtureRequest, tiny: TinyZoo) -> Iterator[Running]:
    front_ends = FrontEndSettings(count=request.param, zoo=str(tiny.folder), access_log="off")
    with (
        Zoo.open(tiny.folder) as zoo,
        running(
            lambda: Server(
                zoo,
                open_runtime("onnx", "cpu"),
                address="localhost:0",
                metrics_address="localhost:0",
                watch_s=0.02,
                front_ends=front_ends,
            )
        ) as server,
    ):
        yield server


@pytest.fixture(scope="module")
def channels(server: Running) -> Iterator[list[grpc.Channel]]:
    with many_channels(server.address) as channels:
        yield channels


Stub = open_inference_pb2_grpc.GRPCInferenceServiceStub


def predict(channel: grpc.Channel, text: str, *heads: str) -> Any:
    stub = predict_pb2_grpc.PredictServiceStub(channel)
    selectors = [predict_pb2.HeadSelector(name=head) for head in heads]
    return stub.Predict(predict_pb2.PredictRequest(text=text, heads=selectors)).predictions


def close_to(tiny: TinyZoo, server: Running, response: Any, *asked: str) -> None:
    for head in {version.head for version in server.engine.plan.versions}:
        served, _, _ = server.engine.plan.resolve(head)
        for name, output in outputs_of(response).items():
            if name.split("/")[0] == head:
                for row, text in zip(output, asked, strict=True):
                    wanted = tiny.expected(served.digest, text)
                    np.testing.assert_allclose(row[tuple(map(slice, wanted.shape))], wanted, rtol=1e-4, atol=1e-6)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_typed_answers_name_the_version_the_alias_and_its_epoch(
    server: Running, channels: list[grpc.Channel], tiny: TinyZoo
) -> None:
    for channel in channels:
        answers = {answer.head: answer for answer in predict(channel, TEXT, "intent", "topics", "urgency", "pii")}
        served, alias, epoch = server.engine.plan.resolve("intent")
        version = answers["intent"].version
        assert (version.digest, version.alias, version.alias_epoch) == (served.digest, alias, epoch)
        scores = [each.score for each in answers["intent"].classification.scores]
        np.testing.assert_allclose(scores, tiny.expected(served.digest, TEXT), rtol=1e-4)
        assert answers["urgency"].regression.high == 10.0
        assert all(span.text in TEXT for span in answers["pii"].tagging.spans)


def test_sixty_four_callers_at_once_each_get_their_own_answer(
    server: Running, channels: list[grpc.Channel], tiny: TinyZoo
) -> None:
    def one(number: int, text: str) -> None:
        response = Stub(channels[number % len(channels)]).ModelInfer(text_request("intent+urgency+pii", text))
        close_to(tiny, server, response, text)

    with ThreadPoolExecutor(64) as callers:
        list(callers.map(one, range(256), texts(256)))


def test_a_stream_answers_in_order_and_a_bad_message_does_not_end_it(
    server: Running, channels: list[grpc.Channel], tiny: TinyZoo
) -> None:
    asked = [text_request("intent+pii" if number % 5 else "no-head", text) for number, text in enumerate(texts(60))]
    for channel in channels[:3]:
        answers = list(Stub(channel).ModelStreamInfer(iter(asked)))
        assert len(answers) == len(asked)
        for number, (text, answer) in enumerate(zip(texts(60), answers, strict=True)):
            if number % 5:
                close_to(tiny, server, answer.infer_response, text)
            else:
                assert "no-head" in answer.error_message


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (text_request("intnet", TEXT), grpc.StatusCode.NOT_FOUND, "serving.unknown_model"),
        (text_request("intent", TEXT, model_version="99"), grpc.StatusCode.NOT_FOUND, "serving.unknown_model"),
        (text_request("intent+intent", TEXT), grpc.StatusCode.INVALID_ARGUMENT, "serving.invalid_request"),
        (text_request("intent", "refund " * 100), grpc.StatusCode.INVALID_ARGUMENT, "zoo.too_long"),
        (text_request("intent", *[TEXT] * 1025), grpc.StatusCode.INVALID_ARGUMENT, "serving.invalid_request"),
    ],
)
def test_what_does_not_fit_is_refused_with_the_same_status(
    channels: list[grpc.Channel], request_: Any, status: grpc.StatusCode, code: str
) -> None:
    for channel in channels[:3]:
        with refused() as found:
            Stub(channel).ModelInfer(request_)
        assert (found.status, found.code) == (status, code)


def test_statistics_count_the_whole_server_whichever_process_is_asked(channels: list[grpc.Channel]) -> None:
    def answered(channel: grpc.Channel) -> tuple[int, int]:
        (counted,) = Stub(channel).ModelStatistics(pb.ModelStatisticsRequest(name="topics")).model_stats
        return counted.inference_stats.success.count, counted.inference_stats.fail.count

    before = answered(channels[0])[0]
    for number, channel in enumerate(channels):
        Stub(channel).ModelInfer(text_request("topics", f"hello {number} hello"))
    assert {answered(channel)[0] for channel in channels} == {before + len(channels)}


def test_metrics_count_the_calls_that_any_process_answered_or_refused(
    server: Running, channels: list[grpc.Channel]
) -> None:
    def calls(code: str) -> float:
        found = scrape(server.server.metrics_address).samples
        return found.get(("hydrazoo_rpcs_total", frozenset({("rpc", "ModelInfer"), ("code", code)})), 0)

    time.sleep(0.2)  # until what earlier tests did is told
    answered, not_found = calls("ok"), calls("serving.unknown_model")
    for channel in channels:
        Stub(channel).ModelInfer(text_request("urgency", TEXT))
        with refused():
            Stub(channel).ModelInfer(text_request("intnet", TEXT))
    until(lambda: calls("ok") == answered + len(channels))
    until(lambda: calls("serving.unknown_model") == not_found + len(channels))


def test_every_process_says_that_it_is_ready_and_what_it_serves(channels: list[grpc.Channel], server: Running) -> None:
    for channel in channels:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", *SERVICES, "hydrazoo.plan"):
            found = health.Check(health_pb2.HealthCheckRequest(service=service)).status
            assert found == health_pb2.HealthCheckResponse.SERVING
        models = Stub(channel).RepositoryIndex(pb.RepositoryIndexRequest(ready=True)).models
        assert len(models) == len(server.engine.plan.versions)
        config = Stub(channel).ModelConfig(pb.ModelConfigRequest(name="intent")).config
        assert (config.platform, config.instance_group[0].kind) == (
            "hydrazoo_onnx",
            pb.ModelInstanceGroup.KIND_CPU,
        )
        heads = registry_pb2_grpc.RegistryServiceStub(channel).ListHeads(registry_pb2.ListHeadsRequest()).heads
        assert {head.name for head in heads} == {"intent", "topics", "urgency", "pii"}


def test_a_promotion_is_picked_up_everywhere_and_the_plan_before_it_is_let_go(
    server: Running, channels: list[grpc.Channel], tiny: TinyZoo
) -> None:
    before, _, _ = server.engine.plan.resolve("intent")
    with Zoo.open(tiny.folder) as zoo:
        version = tiny.publish(zoo, "intent", seed=before.number + 7)

    def answering() -> set[str]:
        return {predict(channel, TEXT, "intent")[0].version.digest for channel in channels}

    until(lambda: answering() == {version.digest})
    close_to(tiny, server, Stub(channels[0]).ModelInfer(text_request("intent+pii", TEXT)), TEXT)
    if isinstance(server.server.entrance, Supervisor):
        desks = server.server.entrance.desks
        until(lambda: all((desk.plans, desk.calls) == (1, 0) for desk in desks))
