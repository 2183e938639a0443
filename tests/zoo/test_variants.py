"""Other precisions of a version in its manifest, and what publishing holds them to."""

from typing import Any

import pytest

from tests.support.fake_manifests import add_body, version_manifest
from zoo import Backbone, Zoo
from zoo.errors import InvalidManifest, ParityMissed
from zoo.manifest import Artifact, Format, Parity, StageManifest, VersionManifest

INT8: Format = "onnx-int8"


@pytest.fixture
def body_in_int8(zoo: Zoo) -> Backbone:
    """A backbone of one stage that is stored in int8 too."""
    plain = add_body(zoo, name="plain", stages=1)
    stage = zoo.stage(plain.manifest.stages[0].digest)
    artifact = Artifact(blob=zoo.blobs.put(b"in int8"), size_bytes=7, made_by="hand")
    forms = {**stage.artifacts, INT8: artifact}
    ref = zoo.add_stage(
        StageManifest.model_validate({**dict(stage), "architecture": {"kind": "other"}, "artifacts": forms})
    )
    return zoo.add_backbone(plain.manifest.model_copy(update={"name": "two_forms", "stages": (ref,)}))


def with_variant(zoo: Zoo, body: Backbone, **changes: Any) -> VersionManifest:
    """Return a version that may be served in int8."""
    plain = version_manifest(zoo, body)
    parity = Parity(rows=4, batch_sizes=(1, 3), max_abs_diff=0.2, equal_answers=0.98, tolerance=0.5)
    fields = {"variants": {INT8: plain.metrics}, "parity": {**plain.parity, INT8: parity}, **changes}
    return plain.model_copy(update=fields)


def test_version_keeps_the_metrics_and_the_parity_of_each_precision(zoo: Zoo, body_in_int8: Backbone) -> None:
    manifest = with_variant(zoo, body_in_int8)
    version = zoo.publish(manifest)
    assert zoo.manifest(version) == manifest
    assert zoo.manifest(version).digest == version.digest
    assert zoo.verify() == []


def test_version_without_variants_says_nothing_of_them_so_that_older_ones_keep_their_digest(
    zoo: Zoo, body: Backbone
) -> None:
    manifest = version_manifest(zoo, body)
    assert b"variants" not in manifest.to_json()
    assert VersionManifest.model_validate_json(manifest.to_json()).digest == manifest.digest


def test_precision_in_which_no_stage_is_stored_is_refused(zoo: Zoo, body: Backbone) -> None:
    with pytest.raises(InvalidManifest, match="to be served as onnx-int8, but no stage is stored in it"):
        zoo.publish(with_variant(zoo, body))


def test_precision_whose_parity_was_not_measured_is_refused(zoo: Zoo, body_in_int8: Backbone) -> None:
    parity = version_manifest(zoo, body_in_int8).parity
    with pytest.raises(InvalidManifest, match="to be served as onnx-int8, but its parity was not measured"):
        zoo.publish(with_variant(zoo, body_in_int8, parity=parity))


def test_precision_beyond_its_own_tolerance_is_refused(zoo: Zoo, body_in_int8: Backbone) -> None:
    far = Parity(rows=4, batch_sizes=(1,), max_abs_diff=0.6, equal_answers=0.5, tolerance=0.5)
    parity = {**version_manifest(zoo, body_in_int8).parity, INT8: far}
    with pytest.raises(ParityMissed, match=r"onnx-int8 differs by 0\.6, tolerance 0\.5"):
        zoo.publish(with_variant(zoo, body_in_int8, parity=parity))


def test_form_that_is_no_precision_has_no_metrics(zoo: Zoo, body_in_int8: Backbone) -> None:
    metrics = version_manifest(zoo, body_in_int8).metrics
    with pytest.raises(InvalidManifest, match="metrics in torchscript, which is no other precision"):
        zoo.publish(with_variant(zoo, body_in_int8, variants={"torchscript": metrics}))
