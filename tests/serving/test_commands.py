import json
import signal
import subprocess
import time
from pathlib import Path

import grpc
import pytest
from click.testing import CliRunner
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc

from serving.commands import serve
from tests.support.serve_command import serve_arguments, serving
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo
from zoo.errors import InvalidConfig


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"), heads=("intent", "urgency", "pii"))


def run(tiny_folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        serve_arguments(tiny_folder, *options), capture_output=True, text=True, timeout=60, check=False
    )


def test_the_plan_is_printed_as_a_table_and_a_tree_of_shared_stages(tiny: TinyZoo) -> None:
    result = CliRunner().invoke(serve, ["--zoo", str(tiny.folder), "--device", "cpu", "--print-plan"])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    tree = [line for line in lines if "─" in line]
    assert tree == [
        "└─ tiny/0",
        "   ├─ tiny/1",
        "   │  ├─ intent  ⇒ intent@1",
        "   │  └─ urgency  ⇒ urgency@1",
        "   └─ pii/tail",
        "      └─ pii  ⇒ pii@1",
    ]
    (intent,) = (line for line in lines if line.startswith("intent@1"))
    assert "prod (epoch 1)" in intent
    assert "tiny/0 → tiny/1 → intent" in intent


def test_the_plan_as_json_says_how_much_is_shared(tiny: TinyZoo) -> None:
    result = CliRunner().invoke(serve, ["--zoo", str(tiny.folder), "--device", "cpu", "--print-plan", "--json"])
    plan = json.loads(result.stdout)
    assert [version["head"] for version in plan["versions"]] == ["intent", "pii", "urgency"]
    assert (plan["stages_listed"], plan["stages_run"]) == (9, 6)


def test_without_sharing_every_listed_stage_runs_on_its_own(tiny: TinyZoo) -> None:
    options = ["--zoo", str(tiny.folder), "--device", "cpu", "--print-plan", "--json", "--no-sharing"]
    plan = json.loads(CliRunner().invoke(serve, options).stdout)
    assert (plan["stages_listed"], plan["stages_run"]) == (9, 9)


def test_a_canary_and_a_shadow_are_printed_with_the_alias_that_they_belong_to(tmp_path: Path) -> None:
    split = make_tiny_zoo(tmp_path / "zoo", heads=("intent",))
    with Zoo.open(split.folder) as zoo:
        for seed in (1, 2):
            split.publish(zoo, "intent", seed=seed, promote_to=())
        moves = [Move("intent", "prod", 2, role="canary", percent=10), Move("intent", "prod", 3, role="shadow")]
        zoo.promote(moves, by="a test", reason="")
    options = ["--zoo", str(split.folder), "--device", "cpu", "--print-plan"]
    lines = CliRunner().invoke(serve, options).output.splitlines()
    assert [line.split("  ")[1].strip() for line in lines if line.startswith("intent@")] == [
        "prod (epoch 3)",
        "prod (10 %)",
        "prod (shadow)",
    ]
    (alias,) = json.loads(CliRunner().invoke(serve, [*options, "--json"]).stdout)["aliases"]
    assert (alias["number"], alias["canary"], alias["canary_percent"], alias["shadows"]) == (1, 2, 10, [3])


def test_a_server_process_serves_what_is_promoted_and_without_watching_what_was(tmp_path: Path) -> None:
    moving = make_tiny_zoo(tmp_path / "zoo", heads=("intent",))

    def number(address: str) -> int:
        with grpc.insecure_channel(address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}])
            return int(stub.Predict(request).predictions[0].version.number)

    with (
        serving(moving.folder, "--watch-s", "0.05") as watching,
        serving(moving.folder, "--no-watch") as standing,
        Zoo.open(moving.folder) as zoo,
    ):
        moving.publish(zoo, "intent", seed=1)
        end = time.monotonic() + 20
        while number(watching.address) == 1:
            assert time.monotonic() < end, "the promotion was never served"
        assert number(standing.address) == 1


def test_only_the_named_heads_are_served(tiny: TinyZoo) -> None:
    options = ["--zoo", str(tiny.folder), "--device", "cpu", "--print-plan", "--json", "--head", "pii"]
    plan = json.loads(CliRunner().invoke(serve, options).stdout)
    assert [version["head"] for version in plan["versions"]] == ["pii"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_server_in_order_with_exit_code_0(tiny: TinyZoo, number: int) -> None:
    with serving(tiny.folder, "--no-access-log") as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}])
            assert stub.Predict(request).predictions[0].head == "intent"
        assert server.stop(number) == 0


def test_a_log_that_nobody_reads_holds_neither_requests_nor_the_end(tiny: TinyZoo) -> None:
    with serving(tiny.folder, log_to_pipe=True) as server:
        with grpc.insecure_channel(server.address) as channel:
            stub = predict_pb2_grpc.PredictServiceStub(channel)
            request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}], request_id="a" * 200)
            for _ in range(500):  # lines of 300 characters and more, into a pipe that holds 64 KiB
                stub.Predict(request, timeout=5)
        assert server.stop() == 0
        assert server.process.stderr is not None
        assert server.process.stderr.read().count("rpc=Predict") > 50


def test_a_taken_port_is_one_line_and_exit_code_1(tiny: TinyZoo) -> None:
    with serving(tiny.folder, "--head", "intent") as server:
        second = run(tiny.folder, "--address", server.address)
    assert second.returncode == 1
    (line,) = second.stderr.strip().splitlines()
    assert line.startswith(f"error: Cannot listen on {server.address}: another process listens there.")


def test_a_zoo_in_which_nothing_is_live_is_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    Zoo.open(tmp_path, create=True).close()
    result = run(tmp_path, "--address", "localhost:0")
    assert result.returncode == 1
    (line,) = result.stderr.strip().splitlines()
    assert line.startswith("error: Nothing is live in this zoo")
    assert "zoo promote" in line


@pytest.mark.parametrize(
    ("option", "value"), [("--lanes", "two"), ("--lanes", "0"), ("--threads", "0"), ("--cache-mb", "-1")]
)
def test_a_number_that_cannot_be_is_misuse_and_the_option_is_named(tiny: TinyZoo, option: str, value: str) -> None:
    result = CliRunner().invoke(serve, ["--zoo", str(tiny.folder), option, value])
    assert result.exit_code == 2
    assert option in result.output


def test_lanes_threads_and_cache_are_the_operators_to_choose(tiny: TinyZoo) -> None:
    with (
        serving(tiny.folder, "--lanes", "2", "--threads", "1", "--cache-mb", "0") as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        stub = predict_pb2_grpc.PredictServiceStub(channel)
        request = predict_pb2.PredictRequest(text="hello", heads=[{"name": "intent"}])
        assert stub.Predict(request).predictions[0].head == "intent"


def test_an_unknown_device_is_refused(tiny: TinyZoo) -> None:
    result = CliRunner().invoke(serve, ["--zoo", str(tiny.folder), "--device", "tpu"])
    assert isinstance(result.exception, InvalidConfig)


def test_help_has_an_example_and_needs_nothing_heavy() -> None:
    code = (
        "import sys; from serving.commands import serve\n"
        "heavy = {'torch', 'onnxruntime', 'grpc', 'tokenizers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([serve_arguments(Path())[0], "-c", code], check=True)
    assert "Example: zoo serve" in CliRunner().invoke(serve, ["--help"]).output


@pytest.mark.parametrize("value", ["support", "=2", "support=none", "support=0", "support=-1", "support=nan"])
def test_a_team_weight_that_is_none_says_what_one_looks_like(value: str) -> None:
    result = CliRunner().invoke(serve, ["--team-weight", value])
    assert result.exit_code == 2
    assert f"{value!r} is not TEAM=WEIGHT with a number above 0, such as support=2." in " ".join(
        result.output.replace("│", " ").split()
    )


def test_team_weights_and_slowdown_are_the_operators_to_choose(tiny: TinyZoo) -> None:
    with serving(tiny.folder, "--team-weight", "intent=3", "--max-slowdown", "4") as server:
        assert server.address
