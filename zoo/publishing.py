"""What a version manifest must satisfy before it is published. Pure: it sees manifests, and touches nothing."""

from collections.abc import Sequence
from typing import get_args

from zoo.errors import GateMissed, InvalidManifest, ParityMissed
from zoo.manifest import (
    BackboneManifest,
    ImagePreprocessing,
    Preprocessing,
    StageManifest,
    TensorSpec,
    TextPreprocessing,
    VariantFormat,
    VersionManifest,
)

__all__ = ["check_version", "needed_blobs", "preprocessed_tensors"]


def check_version(manifest: VersionManifest, stages: Sequence[StageManifest], backbone: BackboneManifest) -> None:
    """Check that a version adds up and is good enough.

    Args:
        manifest: the version.
        stages: the manifests of its stages, in order.
        backbone: the manifest of the backbone that it names.

    Raises:
        InvalidManifest: its path, signature or answer does not add up.
        ParityMissed: an export is further from the torch model than its tolerance.
        GateMissed: a metric is beyond its bound.
    """
    _check_shared_stages(manifest, backbone)
    _check_path(manifest, stages)
    if manifest.created_at.tzinfo is None:
        raise InvalidManifest(
            f"{_subject(manifest)} has created_at {manifest.created_at} without a time zone; use UTC."
        )
    _check_parity(manifest)
    _check_variants(manifest, stages)
    _check_gate(manifest)


def needed_blobs(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return the digests of the blobs that a preprocessing reads."""
    return (preprocessing.tokenizer,) if isinstance(preprocessing, TextPreprocessing) else ()


def preprocessed_tensors(preprocessing: Preprocessing) -> tuple[str, ...]:
    """Return the names of the tensors that a preprocessing gives the first stage."""
    if isinstance(preprocessing, TextPreprocessing):
        return ("ids_NT", "mask_NT")
    if isinstance(preprocessing, ImagePreprocessing):
        return ("images_NCHW",)
    return tuple(spec.name for spec in preprocessing.tensors)


def _subject(manifest: VersionManifest) -> str:
    return f"The new version of {manifest.head!r}"


def _check_shared_stages(manifest: VersionManifest, backbone: BackboneManifest) -> None:
    count = manifest.shared_stages
    if count > len(backbone.stages) or manifest.stages[:count] != backbone.stages[:count]:
        raise InvalidManifest(
            f"{_subject(manifest)} says that its first {count} stages are those of backbone {backbone.name!r}, and "
            f"they are not. The backbone has {', '.join(ref.name for ref in backbone.stages)}; "
            f"the version has {', '.join(ref.name for ref in manifest.stages)}."
        )


def _check_path(manifest: VersionManifest, stages: Sequence[StageManifest]) -> None:
    known: dict[str, TensorSpec | None] = dict.fromkeys(preprocessed_tensors(manifest.preprocessing))
    for stage in stages:
        missing = [spec.name for spec in stage.inputs if spec.name not in known]
        if missing:
            raise InvalidManifest(
                f"{_subject(manifest)}: stage {stage.name!r} reads {', '.join(missing)}, which nothing before it "
                f"gives; there is {', '.join(known)}."
            )
        known.update({spec.name: spec for spec in stage.outputs})
    promised = [spec.name for spec in manifest.signature.outputs]
    unsure = getattr(manifest.answer, "uncertainty", None)
    for name in [*promised, manifest.answer.output, *([unsure] if unsure else [])]:
        if known.get(name) is None or name not in promised:
            raise InvalidManifest(
                f"{_subject(manifest)}: the output {name!r} of its signature or answer is not an output of its path. "
                f"The signature has {', '.join(promised)}; the path ends with {', '.join(known)}."
            )


def _check_parity(manifest: VersionManifest) -> None:
    missed = [
        f"{form} differs by {parity.max_abs_diff:g}, tolerance {parity.tolerance:g}"
        for form, parity in manifest.parity.items()
        if not parity.max_abs_diff <= parity.tolerance
    ]
    if missed:
        raise ParityMissed(
            f"{_subject(manifest)} is not published: {'; '.join(missed)}. The exports answer differently from the "
            "torch model: look for an operator that the export replaced; raise a tolerance only if answers stay equal."
        )
    if not manifest.parity:
        raise InvalidManifest(f"{_subject(manifest)} has no parity report; measure how close its exports are first.")


def _check_variants(manifest: VersionManifest, stages: Sequence[StageManifest]) -> None:
    stored = {form for stage in stages for form in stage.artifacts}
    for form in manifest.variants:
        if form not in get_args(VariantFormat):
            raise InvalidManifest(f"{_subject(manifest)} has metrics in {form}, which is no other precision.")
        lacks = "no stage is stored in it" if form not in stored else "its parity was not measured"
        if form not in stored or form not in manifest.parity:
            raise InvalidManifest(f"{_subject(manifest)} is to be served as {form}, but {lacks}.")


def _check_gate(manifest: VersionManifest) -> None:
    if missed := manifest.gate.missed():
        reached, bounds = manifest.gate.reached, manifest.gate.bounds
        detail = "; ".join(f"{key} is {reached.get(key, 'not measured')}, bound {bounds[key]:g}" for key in missed)
        raise GateMissed(
            f"{_subject(manifest)} is not published: {detail}. Improve the labels or the recipe; a gate is lowered in "
            "the head's package, where it is reviewed."
        )
