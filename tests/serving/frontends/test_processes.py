"""``zoo serve --front-ends 2`` as processes: who dies, who goes on, and how all of them end."""

import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import grpc
import psutil
import pytest
from hydrazoo.inference import open_inference_pb2_grpc

from tests.support.many_channels import many_channels
from tests.support.scraping import scrape
from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from tests.support.wire import text_request

Stub = open_inference_pb2_grpc.GRPCInferenceServiceStub


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"))


@contextmanager
def two_front_ends(tiny: TinyZoo, *options: str) -> Iterator[Serving]:
    with serving(tiny.folder, "--front-ends", "2", *options) as server:
        yield server


def front_ends(server: Serving) -> list[psutil.Process]:
    return psutil.Process(server.process.pid).children()


def until(condition: Callable[[], bool], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(channel: grpc.Channel) -> bool:
    try:
        Stub(channel).ModelInfer(text_request("intent", "hello"), timeout=5)
    except grpc.RpcError:
        return False
    return True


def test_both_front_ends_are_asked_and_every_line_of_their_log_is_whole(tiny: TinyZoo) -> None:
    with two_front_ends(tiny) as server:
        pids = {process.pid for process in front_ends(server)}
        assert len(pids) == 2
        with many_channels(server.address, 16) as channels, ThreadPoolExecutor(16) as callers:
            asked = [text_request("intent+urgency", "refund order", id=f"{number:0>180}") for number in range(400)]
            list(callers.map(lambda number: Stub(channels[number % 16]).ModelInfer(asked[number]), range(400)))
        connected = [
            process.pid for process in front_ends(server) if any(c.laddr for c in process.net_connections("tcp"))
        ]
        assert set(connected) == pids
        assert server.stop() == 0
        log = server.log()
    lines = [line for line in log.splitlines() if "ModelInfer" in line]
    assert len(lines) == 400
    assert len({match.group(1) for line in lines if (match := re.search(r'"(0{100}\d{80})"', line))}) == 400


def test_a_front_end_that_is_killed_under_load_is_replaced_and_takes_nobody_else_with_it(tiny: TinyZoo) -> None:
    options = ("--no-access-log", "--metrics-address", "localhost:0")
    with two_front_ends(tiny, *options) as server, many_channels(server.address, 16) as channels:
        victim, survivor = front_ends(server)
        held = psutil.Process(server.process.pid).num_fds()
        ends = threading.Event()
        outcomes: dict[int, list[grpc.StatusCode]] = {number: [] for number in range(16)}

        def ask(number: int) -> None:
            while not ends.is_set():
                try:
                    Stub(channels[number]).ModelInfer(text_request("intent", f"refund order {number}"), timeout=10)
                    outcomes[number].append(grpc.StatusCode.OK)
                except grpc.RpcError as error:
                    outcomes[number].append(error.code())

        with ThreadPoolExecutor(16) as callers:
            asking = [callers.submit(ask, number) for number in range(16)]
            until(lambda: all(len(outcomes[number]) > 5 for number in outcomes))
            victim.kill()
            until(lambda: len(front_ends(server)) == 2 and victim.pid not in {p.pid for p in front_ends(server)})
            until(lambda: all(answers(channel) for channel in channels))
            ends.set()
            for each in asking:
                each.result(20)
        assert survivor.is_running()
        assert {code for codes in outcomes.values() for code in codes} <= {
            grpc.StatusCode.OK,
            grpc.StatusCode.UNAVAILABLE,
        }
        assert any(set(codes) == {grpc.StatusCode.OK} for codes in outcomes.values()), "the other one's callers"
        until(lambda: psutil.Process(server.process.pid).num_fds() <= held)
        assert scrape(server.started["metrics_address"]).value("front_end_restarts_total") == 1
        assert server.stop() == 0


def test_front_ends_of_an_engine_that_is_killed_refuse_and_leave(tiny: TinyZoo) -> None:
    with two_front_ends(tiny, "--no-access-log") as server, many_channels(server.address, 4) as channels:
        assert all(answers(channel) for channel in channels)
        orphans = front_ends(server)
        server.process.kill()
        until(lambda: not any(answers(channel) for channel in channels))
        for channel in channels:
            with pytest.raises(grpc.RpcError) as caught:
                Stub(channel).ModelInfer(text_request("intent", "hello"), timeout=5)
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert not psutil.wait_procs(orphans, timeout=10)[1]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_all_processes_in_order_with_exit_code_0(tiny: TinyZoo, number: int) -> None:
    with two_front_ends(tiny, "--no-access-log") as server, many_channels(server.address, 4) as channels:
        assert all(answers(channel) for channel in channels)
        processes = front_ends(server)
        assert server.stop(number) == 0
        assert not psutil.wait_procs(processes, timeout=5)[1]


def test_a_front_end_that_is_told_to_stop_drains_and_another_takes_its_place(tiny: TinyZoo) -> None:
    with two_front_ends(tiny, "--no-access-log") as server, many_channels(server.address, 8) as channels:
        first, _ = front_ends(server)
        first.terminate()
        until(lambda: not first.is_running() and len(front_ends(server)) == 2)
        until(lambda: all(answers(channel) for channel in channels))
        assert server.stop() == 0


def test_a_number_of_front_ends_that_is_none_is_refused_and_the_answer_says_what_one_looks_like(tiny: TinyZoo) -> None:
    with (
        pytest.raises(AssertionError, match="neither 'auto' nor a number of processes, for example 4"),
        two_front_ends(tiny, "--front-ends", "many"),
    ):
        pass
