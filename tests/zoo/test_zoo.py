from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_manifests import (
    MASK,
    SCORES,
    TOKENS,
    add_body,
    add_head_stage,
    stage_manifest,
    version_manifest,
)
from zoo import Backbone, Move, Zoo
from zoo.digest import digest_bytes
from zoo.errors import (
    Conflict,
    Corrupt,
    GateMissed,
    IncompatibleSchema,
    InvalidManifest,
    InvalidReference,
    NotFound,
    ParityMissed,
)
from zoo.manifest import Artifact, ClassifyAnswer, GateResult, Parity, StageRef, TextPreprocessing


def test_a_stage_comes_back_by_its_digest(zoo: Zoo) -> None:
    manifest = stage_manifest(zoo, "head", inputs=(TOKENS, MASK), output=SCORES)
    ref = zoo.add_stage(manifest)
    assert (ref.name, ref.digest) == ("head", manifest.digest)
    assert zoo.stage(ref.digest) == manifest


def test_the_same_stage_exported_again_keeps_its_first_exports(zoo: Zoo) -> None:
    first = stage_manifest(zoo, "head", inputs=(TOKENS, MASK), output=SCORES)
    ref = zoo.add_stage(first)
    other = Artifact(blob=zoo.blobs.put(b"other bytes"), size_bytes=11, made_by="newer tool")
    again = first.model_copy(update={"name": "renamed", "artifacts": {"onnx": other}})
    assert zoo.add_stage(again) == ref
    assert zoo.stage(ref.digest) == first


def test_adding_a_stage_again_heals_its_lost_manifest(zoo: Zoo, tmp_path: Path) -> None:
    manifest = stage_manifest(zoo, "head", inputs=(TOKENS, MASK), output=SCORES)
    ref = zoo.add_stage(manifest)
    (tmp_path / "zoo" / "blobs" / ref.manifest[:2] / ref.manifest).unlink()
    assert [problem.kind for problem in zoo.verify()] == ["missing"]
    zoo.add_stage(manifest)
    assert zoo.verify() == []


def test_a_stage_whose_export_is_not_stored_is_refused(zoo: Zoo) -> None:
    missing = Artifact(blob=digest_bytes(b"never put"), size_bytes=9, made_by="hand")
    manifest = stage_manifest(zoo, "head", inputs=(TOKENS, MASK), output=SCORES)
    with pytest.raises(InvalidManifest, match="which is not stored"):
        zoo.add_stage(manifest.model_copy(update={"artifacts": {"onnx": missing}}))


def test_an_unknown_stage_is_not_found(zoo: Zoo) -> None:
    with pytest.raises(NotFound, match="There is no stage"):
        zoo.stage(digest_bytes(b"nothing"))


def test_backbones_are_numbered_by_name_and_found_by_reference(zoo: Zoo) -> None:
    first = add_body(zoo)
    assert add_body(zoo) == first, "the same content again is the same backbone"
    second = zoo.add_backbone(first.manifest.model_copy(update={"source": "elsewhere"}))
    other = add_body(zoo, name="vit")
    assert [str(found) for found in zoo.backbones()] == ["minilm@2", "minilm@1", "vit@1"]
    assert (zoo.backbone("minilm"), zoo.backbone("minilm@1"), zoo.backbone("vit")) == (second, first, other)


@pytest.mark.parametrize(
    ("reference", "message"),
    [("minlm", "Did you mean 'minilm'"), ("minilm@7", "has no number '7'; it has 1"), ("minilm@prod", "it has 1")],
)
def test_an_unknown_backbone_is_not_found(zoo: Zoo, body: Backbone, reference: str, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        zoo.backbone(reference)


def test_a_backbone_of_stages_or_tokenizers_that_are_not_there_is_refused(zoo: Zoo, body: Backbone) -> None:
    stray = StageRef(name="x", digest=digest_bytes(b"x"), manifest=digest_bytes(b"y"))
    with pytest.raises(InvalidManifest, match="not in the zoo; add it first"):
        zoo.add_backbone(body.manifest.model_copy(update={"stages": (stray,)}))
    tokenizer = TextPreprocessing(tokenizer=digest_bytes(b"never put"), max_tokens=8, pad_id=0)
    with pytest.raises(InvalidManifest, match="which is not stored"):
        zoo.add_backbone(body.manifest.model_copy(update={"preprocessing": tokenizer}))


def test_versions_are_numbered_per_head_from_one(zoo: Zoo, body: Backbone) -> None:
    numbers = [zoo.publish(version_manifest(zoo, body, seed=str(i))).number for i in range(3)]
    other = zoo.publish(version_manifest(zoo, body, head="urgency"))
    assert (numbers, other.number) == ([1, 2, 3], 1)
    assert [version.number for version in zoo.versions("intent")] == [3, 2, 1]


def test_a_published_version_keeps_everything_in_its_manifest(zoo: Zoo, body: Backbone) -> None:
    manifest = version_manifest(zoo, body)
    version = zoo.publish(manifest)
    assert zoo.manifest(version) == manifest
    assert (version.digest, version.path_digest) == (manifest.digest, manifest.path)
    assert (version.created_at, version.created_by) == (manifest.created_at, "someone")
    assert zoo.find_build("intent", manifest.build_key) == version
    assert zoo.find_build("intent", digest_bytes(b"other")) is None
    assert zoo.verify() == []


def test_an_identical_manifest_is_published_once(zoo: Zoo, body: Backbone) -> None:
    manifest = version_manifest(zoo, body)
    first = zoo.publish(manifest, promote_to=["prod"])
    assert zoo.publish(manifest, promote_to=["prod", "canary"]) == first
    assert [(entry.alias, entry.epoch) for entry in zoo.promotions("intent")] == [("canary", 1), ("prod", 1)]


def parity(difference: float) -> dict[str, Parity]:
    return {"onnx": Parity(rows=1, batch_sizes=(1,), max_abs_diff=difference, equal_answers=1, tolerance=1e-4)}


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"parity": parity(2e-4)}, ParityMissed, "onnx differs by 0.0002, tolerance 0.0001"),
        ({"parity": parity(float("inf"))}, ParityMissed, "onnx differs by inf"),
        ({"parity": {}}, InvalidManifest, "no parity report"),
        ({"gate": GateResult(bounds={"f1": 0.8}, reached={"f1": 0.7})}, GateMissed, "f1 is 0.7, bound 0.8"),
        ({"gate": GateResult(bounds={"mae": 1}, reached={"mae": 1.2})}, GateMissed, "mae is 1.2, bound 1"),
        ({"gate": GateResult(bounds={"f1": 0.8}, reached={})}, GateMissed, "f1 is not measured"),
        ({"backbone": digest_bytes(b"other")}, InvalidManifest, "names the backbone .* not in the zoo"),
        ({"shared_stages": 3}, InvalidManifest, "first 3 stages are those of backbone 'minilm', and they are not"),
        ({"answer": ClassifyAnswer(output="x", labels=("a", "b"))}, InvalidManifest, "the output 'x'"),
        ({"created_at": datetime(2025, 1, 1)}, InvalidManifest, "without a time zone"),
    ],
)
def test_what_does_not_add_up_or_is_not_good_enough_is_not_published(
    zoo: Zoo, body: Backbone, changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        zoo.publish(version_manifest(zoo, body, **changes), promote_to=["prod"])
    assert zoo.heads() == []


def test_a_path_whose_tensors_do_not_connect_is_not_published(zoo: Zoo, body: Backbone) -> None:
    manifest = version_manifest(zoo, body)
    with pytest.raises(InvalidManifest, match="stage 'intent' reads tokens_NTD, which nothing before it gives"):
        zoo.publish(manifest.model_copy(update={"stages": manifest.stages[-1:], "shared_stages": 0}))


def test_a_stage_listed_under_another_manifest_is_not_published(zoo: Zoo, body: Backbone) -> None:
    manifest = version_manifest(zoo, body)
    forged = manifest.stages[-1].model_copy(update={"manifest": digest_bytes(b"other")})
    with pytest.raises(InvalidManifest, match="Use what `add_stage` returns"):
        zoo.publish(manifest.model_copy(update={"stages": (*manifest.stages[:-1], forged)}))


def test_a_head_with_its_own_copy_of_the_last_stage_is_published(zoo: Zoo, body: Backbone) -> None:
    own = zoo.add_stage(stage_manifest(zoo, "minilm/1", seed="tuned", inputs=(TOKENS, MASK), output=TOKENS))
    stages = (body.manifest.stages[0], own, add_head_stage(zoo, "pii"))
    version = zoo.publish(version_manifest(zoo, body, head="pii", stages=stages, shared_stages=1))
    assert zoo.manifest(version).stages == stages


def test_a_reference_means_what_the_grammar_says(zoo: Zoo, body: Backbone) -> None:
    first, second, third = (zoo.publish(version_manifest(zoo, body, seed=str(i))) for i in range(3))
    assert zoo.resolve("intent").version == third, "no prod alias yet: the newest"
    zoo.promote([Move("intent", "prod", 2), Move("intent", "canary", 1)], by="me", reason="")
    zoo.promote([Move("intent", "prod", 2)], by="me", reason="")
    for reference, version, alias, epoch in (
        ("intent", second, "prod", 2),
        ("intent@prod", second, "prod", 2),
        ("intent@canary", first, "canary", 1),
        ("intent@3", third, "", 0),
        (f"intent@{first.digest[:8]}", first, "", 0),
        (f"intent@{third.digest}", third, "", 0),
    ):
        resolved = zoo.resolve(reference)
        assert (resolved.version, resolved.alias, resolved.epoch) == (version, alias, epoch), reference


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("intnt", "There is no head 'intnt' in the zoo. Did you mean 'intent'?"),
        ("intent@9", r"no version or alias '9'. Its versions: 2, 1. Its aliases: prod \(version 1\)."),
        ("intent@prd", "Did you mean 'prod'?"),
        ("intent@0123456789", "no version or alias '0123456789'"),
    ],
)
def test_what_cannot_be_resolved_is_told_what_there_is(zoo: Zoo, body: Backbone, reference: str, message: str) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod"])
    zoo.publish(version_manifest(zoo, body, seed="2"))
    with pytest.raises(NotFound, match=message):
        zoo.resolve(reference)


def test_an_empty_zoo_says_that_it_is_empty(zoo: Zoo) -> None:
    with pytest.raises(NotFound, match="There is none yet"):
        zoo.resolve("intent")
    assert zoo.live() == []


def test_a_manifest_that_is_damaged_is_never_returned(zoo: Zoo, body: Backbone, tmp_path: Path) -> None:
    version = zoo.publish(version_manifest(zoo, body))
    file = tmp_path / "zoo" / "blobs" / version.digest[:2] / version.digest
    file.write_bytes(file.read_bytes().replace(b"someone", b"nobody!"))
    with pytest.raises(Corrupt):
        zoo.manifest(version)


def test_a_manifest_of_a_newer_release_asks_for_an_upgrade(zoo: Zoo, body: Backbone) -> None:
    version = zoo.publish(version_manifest(zoo, body))
    newer = zoo.blobs.put(zoo.blobs.get(version.digest).replace(b"hydrazoo.version/1", b"hydrazoo.version/9"))
    with pytest.raises(IncompatibleSchema, match=r"at schema.*upgrade"):
        zoo._parse(type(zoo.manifest(version)), newer)


def test_an_alias_that_reads_as_a_digest_is_refused(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body))
    with pytest.raises(InvalidReference, match="cannot be an alias"):
        zoo.promote([Move("intent", "deadbeef", 1)], by="me", reason="")
    with pytest.raises(InvalidReference, match="cannot be an alias"):
        zoo.publish(version_manifest(zoo, body, seed="2"), promote_to=["Prod"])


def test_a_head_stays_with_the_team_that_published_it_first(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod"])
    stolen = version_manifest(zoo, body, seed="2", team="other")
    with pytest.raises(
        Conflict, match=r"'intent' belongs to team 'intent'; team 'other' cannot publish .* another name"
    ):
        zoo.publish(stolen, promote_to=["prod"])
    assert [version.number for version in zoo.versions("intent")] == [1]
    assert zoo.resolve("intent@prod").epoch == 1
    with pytest.raises(Conflict, match="belongs to team"):
        zoo.check_owner("intent", "other")
    zoo.check_owner("intent", "intent")
    zoo.check_owner("nobodys-yet", "other")


def test_an_alias_that_is_named_twice_moves_once(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod", "prod"])
    assert [entry.epoch for entry in zoo.promotions("intent", "prod")] == [1]
