"""A real server over a real zoo whose aliases move while callers ask."""

import logging
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from threading import Thread

import grpc
import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hydrazoo.predict.v1 import predict_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc
from sqlalchemy import event

from serving.loader import load_plan
from serving.plan import LoadedPlan
from serving.runtimes import open_runtime
from serving.server import PLAN_SERVICE, Server
from tests.support.running_server import Running, running
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from tests.support.wire import refused
from zoo import Move, Zoo

ROOT = Path(__file__).parents[2]
TEXT = "refund order 4711 please"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING

Stub = predict_pb2_grpc.PredictServiceStub


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    """A zoo with two versions of ``intent``, the first under ``prod``, and one of ``pii``."""
    tiny = make_tiny_zoo(tmp_path / "zoo", ["intent", "pii"])
    with Zoo.open(tiny.folder) as zoo:
        tiny.publish(zoo, "intent", seed=1, promote_to=())
    return tiny


@pytest.fixture
def zoo(tiny: TinyZoo) -> Iterator[Zoo]:
    """The zoo as somebody else has it open: who promotes."""
    with Zoo.open(tiny.folder) as opened:
        yield opened


@contextmanager
def served(tiny: TinyZoo, *, watch: bool = True) -> Iterator[Running]:
    with (
        Zoo.open(tiny.folder) as zoo,
        running(
            lambda: Server(zoo, open_runtime("onnx", "cpu"), address="localhost:0", watch=watch, watch_s=0.01)
        ) as server,
    ):
        yield server


@contextmanager
def asking(server: Running) -> Iterator[Stub]:
    with grpc.insecure_channel(server.address) as channel:
        yield predict_pb2_grpc.PredictServiceStub(channel)


def ask(stub: Stub, head: str = "intent", routing_key: str = "") -> pb.Prediction:
    request = pb.PredictRequest(text=TEXT, heads=[pb.HeadSelector(name=head)], routing_key=routing_key)
    response: pb.PredictResponse = stub.Predict(request, timeout=20)
    (prediction,) = response.predictions
    return prediction


def wait_until(condition: Callable[[], bool]) -> None:
    """Wait for something that happens soon."""
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.005)


def wait_for_newest(server: Running, zoo: Zoo) -> None:
    newest = zoo.newest_promotion()
    wait_until(lambda: server.engine.loaded.epoch >= newest)


def promote(zoo: Zoo, *moves: Move) -> None:
    zoo.promote(moves, by="a test", reason="")


def healthy(server: Running, service: str) -> int:
    with grpc.insecure_channel(server.address) as channel:
        request = health_pb2.HealthCheckRequest(service=service)
        status: int = health_pb2_grpc.HealthStub(channel).Check(request, timeout=20).status
        return status


class Callers:
    """Threads that ask all the time; every answer is kept, and every error."""

    def __init__(self, server: Running, count: int = 16) -> None:
        self.answers: list[tuple[int, int, str, tuple[float, ...]]] = []
        self.errors: list[Exception] = []
        self._over = threading.Event()
        self._threads = [Thread(target=self._ask, args=(server,)) for _ in range(count)]

    def __enter__(self) -> "Callers":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, server: Running) -> None:
        with asking(server) as stub:
            while not self._over.is_set():
                try:
                    found = ask(stub)
                except grpc.RpcError as error:
                    self.errors.append(error)
                    return
                scores = tuple(score.score for score in found.classification.scores)
                self.answers.append((found.version.number, found.version.alias_epoch, found.version.digest, scores))


def test_a_hundred_promotions_while_sixteen_callers_ask_fail_nobody(tiny: TinyZoo, zoo: Zoo) -> None:
    with served(tiny) as server:
        with Callers(server) as callers:
            for swap in range(100):
                promote(zoo, Move("intent", "prod", 1 + (swap + 1) % 2))
                if swap % 10 == 0:
                    wait_for_newest(server, zoo)
            wait_for_newest(server, zoo)
            asked = len(callers.answers)
            wait_until(lambda: len(callers.answers) > asked + 100)
        with asking(server) as stub:
            last = ask(stub)
    assert callers.errors == []
    log = {(entry.number, entry.epoch, entry.digest) for entry in zoo.promotions("intent", "prod")}
    assert {answer[:3] for answer in callers.answers} <= log, "each by a version that the alias meant, and its epoch"
    assert len({epoch for _, epoch, *_ in callers.answers}) > 5
    assert (last.version.number, last.version.alias_epoch) == (1, 101), "after the swap the new version answers alone"
    for digest, scores in {(digest, scores) for *_, digest, scores in callers.answers}:
        np.testing.assert_allclose(scores, tiny.expected(digest, TEXT), rtol=1e-4)


def test_a_head_that_is_added_to_a_running_server_answers(tiny: TinyZoo, zoo: Zoo) -> None:
    with served(tiny) as server, asking(server) as stub:
        with refused() as found:
            ask(stub, "urgency")
        assert found.status is grpc.StatusCode.NOT_FOUND
        body = server.engine.loaded
        version = tiny.publish(zoo, "urgency")
        wait_for_newest(server, zoo)
        value = ask(stub, "urgency").regression.value
        assert value == pytest.approx(tiny.expected(version.digest, TEXT).item(), rel=1e-4)
        now = server.engine.loaded
        assert body.executables.items() <= now.executables.items(), "what ran already is the same"
        assert len(now.executables) == len(body.executables) + 1


def test_a_damaged_head_leaves_the_old_one_and_says_so_until_another_is_promoted(tiny: TinyZoo, zoo: Zoo) -> None:
    stage = zoo.stage(zoo.manifest(zoo.resolve("intent@2").version).stages[-1].digest)
    blob = stage.artifacts["onnx"].blob
    (file,) = [path for path in tiny.folder.rglob("*") if path.is_file() and path.name == blob]
    whole = file.read_bytes()
    file.chmod(0o600)
    with served(tiny) as server, asking(server) as stub:
        assert healthy(server, PLAN_SERVICE) == SERVING
        file.write_bytes(b"damaged")
        promote(zoo, Move("intent", "prod", 2))
        wait_for_newest(server, zoo)
        assert (ask(stub).version.number, ask(stub).version.alias_epoch) == (1, 1)
        wait_until(lambda: healthy(server, PLAN_SERVICE) == NOT_SERVING)
        assert healthy(server, "") == SERVING
        assert server.engine.statistics.swaps().failed > 0
        file.write_bytes(whole)
        promote(zoo, Move("pii", "prod", 1))
        wait_for_newest(server, zoo)
        assert (ask(stub).version.number, ask(stub).version.alias_epoch) == (2, 2)
        wait_until(lambda: healthy(server, PLAN_SERVICE) == SERVING)


def test_requests_cost_no_look_up_in_the_registry(tiny: TinyZoo) -> None:
    statements: list[str] = []
    with (
        Zoo.open(tiny.folder) as zoo,
        running(lambda: Server(zoo, open_runtime("onnx", "cpu"), address="localhost:0", watch=False)) as server,
        asking(server) as stub,
    ):
        event.listen(zoo.registry.engine, "before_cursor_execute", lambda *each: statements.append(each[2]))
        for _ in range(100):
            ask(stub)
        assert statements == []
        zoo.heads()
        assert statements, "they are seen, if there are any"


def test_a_server_that_is_still_loading_says_so_and_when_to_try_again(tiny: TinyZoo) -> None:
    loading, may_load = threading.Event(), threading.Event()
    made: list[Server] = []

    def make(zoo: Zoo) -> Server:
        runtime = open_runtime("onnx", "cpu")

        def load(**arguments: object) -> LoadedPlan:
            loading.set()
            assert may_load.wait(20)
            return load_plan(zoo, runtime, **arguments)  # type: ignore[arg-type]

        made.append(Server(zoo, runtime, address="localhost:0", load=load))
        return made[0]

    def look() -> None:
        assert loading.wait(20)
        try:
            address = made[0].address
            with grpc.insecure_channel(address) as channel:
                stub = predict_pb2_grpc.PredictServiceStub(channel)
                with refused() as found:
                    ask(stub)
                assert (found.status, found.code) == (grpc.StatusCode.UNAVAILABLE, "serving.loading")
                assert "still loading" in found.message
                assert found.metadata is not None
                assert found.metadata["grpc-retry-pushback-ms"] == "1000"
                health = health_pb2_grpc.HealthStub(channel)
                assert health.Check(health_pb2.HealthCheckRequest(), timeout=20).status == NOT_SERVING
                seen.append(address)
        finally:
            may_load.set()

    seen: list[str] = []
    looking = Thread(target=look)
    looking.start()
    with Zoo.open(tiny.folder) as zoo, running(partial(make, zoo)) as server:
        looking.join()
        assert seen == [server.address]
        assert healthy(server, "") == healthy(server, PLAN_SERVICE) == SERVING
        with asking(server) as stub:
            assert ask(stub).version.number == 1


PROMOTE_FOREVER = """
import itertools, sys
from zoo import Move, Zoo
with Zoo.open(sys.argv[1]) as zoo:
    for turn in itertools.count():
        zoo.promote([Move("intent", "prod", 1 + turn % 2), Move("pii", "prod", 1)], by="a process", reason="")
        print(turn, flush=True)
"""


def test_a_promoter_that_is_killed_leaves_a_server_that_serves_what_it_promoted(tiny: TinyZoo, zoo: Zoo) -> None:
    with served(tiny) as server, Callers(server, count=2) as callers:
        for _ in range(3):
            command = [sys.executable, "-c", PROMOTE_FOREVER, str(tiny.folder)]
            with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as promoter:
                assert promoter.stdout is not None
                for _ in range(5):
                    assert promoter.stdout.readline()
                promoter.send_signal(signal.SIGKILL)
        wait_for_newest(server, zoo)
        live = {each.version.head: (each.version.number, each.epoch) for each in zoo.live()}
        plan = server.engine.plan
        assert {head: (plan.resolve(head)[0].number, plan.resolve(head)[2]) for head in live} == live
        assert live["intent"][1] == live["pii"][1], "both moved together, every time"
    assert callers.errors == []


def test_a_canary_answers_its_callers_and_always_the_same(tiny: TinyZoo, zoo: Zoo) -> None:
    promote(zoo, Move("intent", "prod", 2, role="canary", percent=50))
    with served(tiny) as server, asking(server) as stub:
        sides = {f"caller {key}": ask(stub, routing_key=f"caller {key}").version for key in range(20)}
        assert {version.number for version in sides.values()} == {1, 2}
        assert {(version.alias, version.alias_epoch) for version in sides.values()} == {("prod", 2)}
        for key, version in sides.items():
            assert ask(stub, routing_key=key).version == version
        promote(zoo, Move("intent", "prod", 2, role="canary", percent=99))
        wait_for_newest(server, zoo)
        stayed = [key for key, version in sides.items() if version.number == 2]
        assert {ask(stub, routing_key=key).version.number for key in stayed} == {2}
        with grpc.insecure_channel(server.address) as channel:
            registry = registry_pb2_grpc.RegistryServiceStub(channel)
            head = registry.ListHeads(registry_pb2.ListHeadsRequest()).heads[0]
            (alias,) = head.aliases
            assert (alias.number, alias.canary, alias.canary_percent) == (1, 2, 99)
            newest = registry.ListPromotions(registry_pb2.ListPromotionsRequest(head="intent")).promotions[0]
            assert (newest.canary, newest.canary_percent, list(newest.shadows)) == (2, 99, [])


def test_a_shadow_runs_on_the_live_heads_features_and_touches_no_answer(
    tiny: TinyZoo, zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    promote(zoo, Move("intent", "prod", 2, role="shadow"))
    live, shadow = (zoo.resolve(f"intent@{number}").version for number in (1, 2))
    with caplog.at_level(logging.INFO, "serving.shadow"), served(tiny) as server, asking(server) as stub:
        found = ask(stub)
        assert (found.version.number, found.version.alias_epoch) == (1, 2)
        scores = [score.score for score in found.classification.scores]
        np.testing.assert_allclose(scores, tiny.expected(live.digest, TEXT), rtol=1e-4)
        wait_until(lambda: bool(server.engine.statistics.shadows()))
        (counted,) = server.engine.statistics.shadows()
        agree = tiny.expected(live.digest, TEXT).argmax() == tiny.expected(shadow.digest, TEXT).argmax()
        assert counted == ("intent", shadow.digest, "agreed" if agree else "disagreed")
        assert not agree, "the text was chosen so that they differ"
        plan = server.engine.plan
        runs = {node.stage.name: server.engine.statistics.stage_runs(node.path).rows for node in plan.nodes()}
        assert runs["tiny/1"] == 1, "the body ran once for both"
    (line,) = [record.getMessage() for record in caplog.records if record.name == "serving.shadow"]
    assert line.startswith("shadow=intent@2 live=intent@1 alias=prod input=")
    assert "refund order" not in line
