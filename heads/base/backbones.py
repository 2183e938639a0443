"""Adding a backbone to the zoo: load it, export each stage, record how its inputs are preprocessed."""

from collections.abc import Sequence

from backbone.load import load_backbone
from backbone.preprocessing import ImageTransform, Tokenization
from backbone.stage import run_path
from heads.base.building.fingerprint import absolute_source, environment
from heads.base.building.phases import Phases
from heads.base.errors import FormsFixed
from zoo import Backbone, Zoo
from zoo.export import export_stage
from zoo.manifest import (
    BackboneManifest,
    ImagePreprocessing,
    Preprocessing,
    StageManifest,
    StageRef,
    TextPreprocessing,
    VariantFormat,
)
from zoo.references import check_name

__all__ = ["add_backbone"]


def add_backbone(
    zoo: Zoo,
    source: str,
    *,
    split: Sequence[int] = (),
    name: str = "",
    precisions: Sequence[VariantFormat] = (),
    key: str | None,
    phases: Phases | None = None,
) -> Backbone:
    """Load a backbone, export its stages and add it to the zoo.

    Args:
        zoo: where it goes.
        source: ``minilm``, ``glyphs``, ``hf:<folder or name>`` or ``timm:<folder or name>``.
        split: block indices at which a new stage begins; empty for three about equal stages.
        name: what to call it; empty for a name made from the source.
        precisions: forms in which its stages are stored besides fp32.
        key: digest of all that goes in, as ``heads.base.building.fingerprint.backbone_key`` gives it.
        phases: times the phases and reports progress.

    Raises:
        InvalidReference: the name cannot be one.
        BackboneError: the source does not load, or cannot be cut there.
        ExportFailed: a stage cannot be exported.
        FormsFixed: the zoo has a stage of it already, without one of the precisions.
    """
    if name:
        check_name(name, "a backbone")
    source = absolute_source(source)
    phases = phases or Phases()
    with phases.phase("load"):
        loaded = load_backbone(source, split=split, name=name)
    tensors, refs = dict(loaded.example), list[StageRef]()
    with phases.phase("export"):
        for number, stage in enumerate(loaded.stages):
            phases.at(number, len(loaded.stages))
            exported = export_stage(stage, example=tensors, variants=precisions)
            _check_forms(zoo, exported.manifest)
            for data in exported.blobs.values():
                zoo.blobs.put(data)
            refs.append(zoo.add_stage(exported.manifest))
            tensors = run_path([stage], tensors)
    with phases.phase("add"):
        return zoo.add_backbone(
            BackboneManifest(
                name=loaded.name,
                source=source,
                source_digest=loaded.source_digest,
                stages=tuple(refs),
                preprocessing=_preprocessing(zoo, loaded.preprocessing),
                environment=environment(),
                build_key=key,
            )
        )


def _check_forms(zoo: Zoo, wanted: StageManifest) -> None:
    """Refuse forms that a stage of the zoo lacks: what it is stored as never changes."""
    stored = zoo.registry.stage(wanted.digest)
    if stored is None:
        return
    missing = wanted.artifacts.keys() - zoo.stage(wanted.digest).artifacts.keys()
    if missing:
        raise FormsFixed(
            f"Stage {stored.name!r} is in the zoo already, without {' and '.join(sorted(missing))}; a stored stage "
            "never changes. Add the backbone with that --precision to a new zoo, or cut it elsewhere (--split) and "
            "train its heads again: other stages can have other forms."
        )


def _preprocessing(zoo: Zoo, declared: Tokenization | ImageTransform) -> Preprocessing:
    if isinstance(declared, Tokenization):
        return TextPreprocessing(
            tokenizer=zoo.blobs.put(declared.tokenizer_json), max_tokens=declared.max_tokens, pad_id=declared.pad_id
        )
    return ImagePreprocessing(
        height=declared.height,
        width=declared.width,
        resize_shorter=declared.resize_shorter,
        interpolation=declared.interpolation,
        mean=declared.mean,
        std=declared.std,
    )
