"""``zoo predict``."""

import base64
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hydrazoo.client.command import predict
from hydrazoo.predict.v1 import predict_pb2

from tests.support.fake_server import Failure, FakeServer
from zoo.commands import main


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HYDRAZOO_SERVER", raising=False)
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, stdin: str | None = None) -> Result:
    """Run as ``zoo predict``, so that refusals end as they do for a person."""
    return CliRunner().invoke(main, ["predict", *arguments], input=stdin)


def test_answers_are_printed_a_line_a_head_with_their_versions(server: FakeServer) -> None:
    heads = "intent,topics, urgency@7,pii@canary"
    done = run("--text", "I was charged twice!", "--heads", heads, "--server", server.target)
    assert done.exit_code == 0, done.output
    lines = [line.split() for line in done.output.splitlines()]
    assert lines[0] == ["intent@6", "prod", "abababababab", "b", "(75%)"]
    assert lines[1] == ["topics@6", "prod", "abababababab", "b", "(75%)"]
    assert lines[2] == ["urgency@7", "abababababab", "7.5", "(0", "to", "10)"]
    assert lines[3] == ["pii@6", "canary", "abababababab", "email", "'x@y'", "(50%)"]
    assert "1.5 ms in the server, request made-here" in done.output
    assert server.requests[0].text == "I was charged twice!"


def test_json_holds_everything(server: FakeServer) -> None:
    done = run("--text", "x", "--heads", "urgency@7", "--server", server.target, "--json")
    assert json.loads(done.output) == {
        "predictions": [
            {
                "head": "urgency",
                "version": {"number": 7, "digest": "ab" * 32, "alias": "", "alias_epoch": 0},
                "kind": "regression",
                "answer": {"value": 7.5, "low": 0.0, "high": 10.0},
            }
        ],
        "request_id": "made-here",
        "server_time_ms": 1.5,
    }


def test_a_vector_and_a_mask_are_said_in_a_line(server: FakeServer) -> None:
    done = run("--text", "x", "--heads", "similar,mask", "--server", server.target)
    similar, mask, _ = done.output.splitlines()
    assert similar.endswith("4 numbers: 0.500, -0.500, 0.500, …")
    assert mask.endswith("2 × 2 pixels: ground 75%, glyph 25%")


def test_json_holds_a_mask_as_base64(server: FakeServer) -> None:
    done = run("--text", "x", "--heads", "mask", "--server", server.target, "--json")
    (prediction,) = json.loads(done.output)["predictions"]
    assert prediction["kind"] == "segmentation"
    assert base64.b64decode(prediction["answer"]["mask_png"]).startswith(b"\x89PNG")
    assert prediction["answer"]["shares"] == {"ground": 0.75, "glyph": 0.25}


def test_a_dash_reads_the_text_from_standard_input(server: FakeServer) -> None:
    assert run("--text", "-", "--heads", "intent", "--server", server.target, stdin="von hier\n").exit_code == 0
    assert server.requests[0].text == "von hier\n"


def test_an_image_is_sent_from_its_file(server: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "cat.png").write_bytes(b"\x89PNG")
    assert run("--image", "cat.png", "--heads", "intent", "--server", server.target).exit_code == 0
    assert server.requests[0].image == b"\x89PNG"


def test_the_server_comes_from_the_flag_then_the_environment_then_the_file(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "hydrazoo.toml").write_text(f'server = "{server.target}"\n')
    assert run("--text", "x", "--heads", "intent").exit_code == 0
    (tmp_path / "hydrazoo.toml").write_text('server = "localhost:1"\n')
    monkeypatch.setenv("HYDRAZOO_SERVER", server.target)
    assert run("--text", "x", "--heads", "intent").exit_code == 0
    monkeypatch.setenv("HYDRAZOO_SERVER", "localhost:1")
    assert run("--text", "x", "--heads", "intent", "--server", server.target).exit_code == 0
    assert len(server.requests) == 3


def test_priority_and_routing_key_go_with_the_request(server: FakeServer) -> None:
    options = ("--priority", "low", "--routing-key", "ada")
    assert run("--text", "x", "--heads", "intent", "--server", server.target, *options).exit_code == 0
    assert (server.requests[0].priority, server.requests[0].routing_key) == (predict_pb2.PRIORITY_LOW, "ada")


def test_a_refusal_is_one_line_and_exit_code_1(server: FakeServer) -> None:
    from grpc import StatusCode

    server.failures.append(Failure(status=StatusCode.NOT_FOUND, message="No head 'intnet'. Did you mean 'intent'?"))
    done = run("--text", "x", "--heads", "intnet", "--server", server.target)
    assert done.exit_code == 1
    assert done.output == "error: No head 'intnet'. Did you mean 'intent'?\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--heads", "intent"),
        ("--text", "x"),
        ("--text", "x", "--heads", " , "),
        ("--text", "x", "--image", "nowhere.png", "--heads", "intent"),
        ("--text", "x", "--heads", "intent", "--timeout", "0"),
        ("--text", "x", "--heads", "intent", "--verbos"),
    ],
)
def test_misuse_is_exit_code_2(arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize("content", ["server = ", "server = 7\n"])
def test_a_settings_file_that_does_not_read_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "hydrazoo.toml").write_text(content)
    done = run("--text", "x", "--heads", "intent")
    assert done.exit_code == 1
    assert done.output.startswith("error: hydrazoo.toml")


def test_help_has_an_example() -> None:
    assert "Example: zoo predict" in CliRunner().invoke(predict, ["--help"]).output


def test_the_command_imports_no_part_of_the_platform() -> None:
    code = "import sys, hydrazoo.client.command; print(sorted({'zoo', 'serving', 'torch', 'rich'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
