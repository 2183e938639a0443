"""Every part of the wire is explained where it is defined."""

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2
from grpc_tools import protoc

SOURCES = Path(__file__).parents[2] / "protos"
PROTOS = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, descriptor_pb2.FileDescriptorProto]:
    out = tmp_path_factory.mktemp("descriptors") / "set"
    arguments = [f"--proto_path={SOURCES}", "--include_source_info", f"--descriptor_set_out={out}", *PROTOS]
    include = Path(protoc.__file__).parent / "_proto"
    assert protoc.main(["protoc", f"--proto_path={include}", *arguments]) == 0
    return {file.name: file for file in descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes()).file}


def parts(message: Any, path: tuple[int, ...], name: str) -> Any:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, 2, index), f"{name}.{field.name}"
    made_up = {field.oneof_index for field in message.field if field.proto3_optional}  # by the compiler
    for index, oneof in enumerate(message.oneof_decl):
        if index not in made_up:
            yield (*path, 8, index), f"{name}.{oneof.name}"
    for index, nested in enumerate(message.nested_type):
        if not nested.options.map_entry:
            yield from parts(nested, (*path, 3, index), f"{name}.{nested.name}")
    for index, enum in enumerate(message.enum_type):
        yield from values(enum, (*path, 4, index), f"{name}.{enum.name}")


def values(enum: Any, path: tuple[int, ...], name: str) -> Any:
    yield path, name
    yield from (((*path, 2, index), f"{name}.{value.name}") for index, value in enumerate(enum.value))


def everything(file: descriptor_pb2.FileDescriptorProto) -> Any:
    for index, message in enumerate(file.message_type):
        yield from parts(message, (4, index), message.name)
    for index, enum in enumerate(file.enum_type):
        yield from values(enum, (5, index), enum.name)
    for index, service in enumerate(file.service):
        yield (6, index), service.name
        yield from (((6, index, 2, at), f"{service.name}.{rpc.name}") for at, rpc in enumerate(service.method))


@pytest.mark.parametrize("proto", PROTOS)
def test_every_message_field_enum_and_rpc_has_a_comment(
    files: dict[str, descriptor_pb2.FileDescriptorProto], proto: str
) -> None:
    explained = {tuple(place.path) for place in files[proto].source_code_info.location if place.leading_comments}
    assert [name for path, name in everything(files[proto]) if path not in explained] == []


@pytest.mark.parametrize("proto", [proto for proto in PROTOS if "/inference/" not in proto])
def test_package_is_the_folder(files: dict[str, descriptor_pb2.FileDescriptorProto], proto: str) -> None:
    assert files[proto].package == proto.rpartition("/")[0].replace("/", ".")


@pytest.mark.parametrize("proto", [proto for proto in PROTOS if "/inference/" not in proto])
def test_every_rpc_has_a_request_and_a_response_of_its_own(
    files: dict[str, descriptor_pb2.FileDescriptorProto], proto: str
) -> None:
    for service in files[proto].service:
        for rpc in service.method:
            assert rpc.input_type.endswith(f".{rpc.name}Request")
            assert rpc.output_type.endswith(f".{rpc.name}Response")
