"""Our descriptors against those of Triton's client; the two share names, so each is read in its own process."""

import json
import subprocess
import sys
from typing import Any

import pytest

DUMP = """
import importlib, json, sys

def field(f):
    kind = f.message_type or f.enum_type
    return {
        "name": f.name, "type": f.type, "repeated": f.is_repeated, "of": kind.full_name if kind else "",
        "oneof": f.containing_oneof.name if f.containing_oneof else "", "packed": f.is_packed,
    }

def walk(message):
    yield message.full_name, {f.number: field(f) for f in message.fields}
    for nested in message.nested_types:
        yield from walk(nested)

def enums(owner):
    for enum in owner.enum_types_by_name.values():
        yield enum.full_name, {v.number: v.name for v in enum.values}
    for message in getattr(owner, "message_types_by_name", getattr(owner, "nested_types_by_name", {})).values():
        yield from enums(message)

files = [importlib.import_module(name).DESCRIPTOR for name in sys.argv[1:]]
print(json.dumps({
    "messages": dict(pair for f in files for m in f.message_types_by_name.values() for pair in walk(m)),
    "enums": dict(pair for f in files for pair in enums(f)),
    "rpcs": {
        m.full_name: [m.input_type.full_name, m.output_type.full_name, m.client_streaming, m.server_streaming]
        for f in files for s in f.services_by_name.values() for m in s.methods
    },
}))
"""

CONFIGURATION = {
    f"inference.{name}"
    for name in (
        "ModelConfig",
        "ModelDynamicBatching",
        "ModelInput",
        "ModelInstanceGroup",
        "ModelOutput",
        "ModelVersionPolicy",
    )
}
"""Messages of a model's configuration, of which we have the part that applies; the rest is whole."""


def descriptors(*modules: str) -> dict[str, Any]:
    done = subprocess.run([sys.executable, "-c", DUMP, *modules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    loaded: dict[str, Any] = json.loads(done.stdout)
    return loaded


@pytest.fixture(scope="module")
def ours() -> dict[str, Any]:
    return descriptors("hydrazoo.inference.open_inference_pb2")


@pytest.fixture(scope="module")
def theirs() -> dict[str, Any]:
    pytest.importorskip("tritonclient", reason="tritonclient[grpc] is not installed")
    return descriptors("tritonclient.grpc.service_pb2", "tritonclient.grpc.model_config_pb2")


def test_every_message_has_the_fields_of_the_client_by_number_name_type_and_label(
    ours: dict[str, Any], theirs: dict[str, Any]
) -> None:
    whole = {name: fields for name, fields in ours["messages"].items() if name not in CONFIGURATION}
    assert len(whole) > 30
    assert whole == {name: theirs["messages"][name] for name in whole}


def test_the_configuration_is_a_part_of_the_clients(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for name in CONFIGURATION:
        assert ours["messages"][name].items() <= theirs["messages"][name].items(), name


def test_every_enum_is_the_clients(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert "inference.DataType" in ours["enums"]
    assert ours["enums"] == {name: theirs["enums"][name] for name in ours["enums"]}


def test_every_rpc_is_the_clients_under_the_same_name(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    assert len(ours["rpcs"]) == 10
    assert ours["rpcs"].items() <= theirs["rpcs"].items()
