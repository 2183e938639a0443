from datetime import UTC

import grpc
import pytest
from hydrazoo.registry.v1 import registry_pb2 as pb
from hydrazoo.registry.v1 import registry_pb2_grpc

from tests.support.tiny_zoo import TinyZoo
from tests.support.wire import refused
from zoo import Zoo
from zoo.digest import digest_bytes
from zoo.manifest import VersionManifest

Stub = registry_pb2_grpc.RegistryServiceStub


@pytest.fixture(scope="module")
def stub(channel: grpc.Channel) -> Stub:
    return registry_pb2_grpc.RegistryServiceStub(channel)


def test_heads_are_listed_by_name_with_their_aliases(stub: Stub) -> None:
    response = stub.ListHeads(pb.ListHeadsRequest())
    assert [head.name for head in response.heads] == ["intent", "pii", "topics", "urgency"]
    intent = response.heads[0]
    assert intent.latest_number == 2
    assert [(alias.name, alias.number, alias.epoch) for alias in intent.aliases] == [("canary", 2, 1), ("prod", 1, 1)]
    assert response.next_page_token == ""


def test_pages_follow_each_other_until_the_list_ends(stub: Stub) -> None:
    names: list[str] = []
    token = ""
    for _ in range(4):
        page = stub.ListHeads(pb.ListHeadsRequest(page_size=1, page_token=token))
        names += [head.name for head in page.heads]
        token = page.next_page_token
    assert names == ["intent", "pii", "topics", "urgency"]
    assert token == ""


def test_a_page_token_that_is_none_is_invalid(stub: Stub) -> None:
    with refused() as found:
        stub.ListHeads(pb.ListHeadsRequest(page_token="7f"))
    assert found.status is grpc.StatusCode.INVALID_ARGUMENT
    assert "ask for the first page again" in found.message


def test_versions_are_listed_newest_first(stub: Stub, tiny: TinyZoo) -> None:
    with Zoo.open(tiny.folder) as zoo:
        expected = zoo.versions("intent")
    found = stub.ListVersions(pb.ListVersionsRequest(head="intent")).versions
    assert [(version.number, version.digest, version.path_digest) for version in found] == [
        (version.number, version.digest, version.path_digest) for version in expected
    ]
    assert found[0].created_at.ToDatetime(UTC) == expected[0].created_at


def test_a_versions_manifest_comes_as_the_bytes_that_its_digest_names(stub: Stub) -> None:
    response = stub.GetVersion(pb.GetVersionRequest(reference="intent@canary"))
    assert response.version.number == 2
    assert digest_bytes(response.manifest_json.encode()) == response.version.digest
    assert VersionManifest.model_validate_json(response.manifest_json).head == "intent"


@pytest.mark.parametrize(
    ("reference", "number", "alias", "epoch"),
    [("intent", 1, "prod", 1), ("intent@canary", 2, "canary", 1), ("intent@2", 2, "", 0)],
)
def test_a_reference_is_resolved_with_its_alias_and_epoch(
    stub: Stub, reference: str, number: int, alias: str, epoch: int
) -> None:
    found = stub.Resolve(pb.ResolveRequest(reference=reference))
    assert (found.version.number, found.alias, found.alias_epoch) == (number, alias, epoch)


def test_promotions_are_listed_newest_first_with_who_and_why(stub: Stub) -> None:
    found = stub.ListPromotions(pb.ListPromotionsRequest(head="intent")).promotions
    newest = found[0]
    assert (newest.alias, newest.number, newest.epoch) == ("canary", 2, 1)
    assert (newest.by, newest.reason) == ("someone", "to compare")
    only = stub.ListPromotions(pb.ListPromotionsRequest(head="intent", alias="prod")).promotions
    assert [move.alias for move in only] == ["prod"]


@pytest.mark.parametrize(
    ("rpc", "request_"),
    [
        ("Resolve", pb.ResolveRequest(reference="intnt")),
        ("GetVersion", pb.GetVersionRequest(reference="intnt@1")),
        ("ListVersions", pb.ListVersionsRequest(head="intnt")),
        ("ListPromotions", pb.ListPromotionsRequest(head="intnt")),
    ],
)
def test_an_unknown_head_is_not_found_and_the_closest_is_named(stub: Stub, rpc: str, request_: object) -> None:
    with refused() as found:
        getattr(stub, rpc)(request_)
    assert found.status is grpc.StatusCode.NOT_FOUND
    assert "'intent'" in found.message
    assert found.code == "zoo.not_found"


def test_a_malformed_reference_is_invalid(stub: Stub) -> None:
    with refused() as found:
        stub.Resolve(pb.ResolveRequest(reference="intent@@7"))
    assert (found.status, found.code) == (grpc.StatusCode.INVALID_ARGUMENT, "zoo.invalid_reference")
