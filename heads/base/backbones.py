"""Adding a backbone to the zoo: load it, export each stage, record how its inputs are preprocessed."""

from collections.abc import Sequence

from backbone.load import load_backbone
from backbone.preprocessing import ImageTransform, Tokenization
from backbone.stage import run_path
from heads.base.fingerprint import environment
from heads.base.phases import Phases
from zoo import Backbone, Zoo
from zoo.export import export_stage
from zoo.manifest import BackboneManifest, ImagePreprocessing, Preprocessing, StageRef, TextPreprocessing
from zoo.references import check_name

__all__ = ["add_backbone"]


def add_backbone(
    zoo: Zoo, source: str, *, split: Sequence[int] = (), name: str = "", key: str | None, phases: Phases | None = None
) -> Backbone:
    """Load a backbone, export its stages and add it to the zoo.

    Args:
        zoo: where it goes.
        source: ``minilm``, ``hf:<folder or name>`` or ``timm:<folder or name>``.
        split: block indices at which a new stage begins; empty for three about equal stages.
        name: what to call it; empty for a name made from the source.
        key: digest of all that goes in, as ``heads.base.fingerprint.backbone_key`` gives it.
        phases: times the phases and reports progress.

    Raises:
        InvalidReference: the name cannot be one.
        BackboneError: the source does not load, or cannot be cut there.
        ExportFailed: a stage cannot be exported.
    """
    if name:
        check_name(name, "a backbone")
    phases = phases or Phases()
    with phases.phase("load"):
        loaded = load_backbone(source, split=split, name=name)
    tensors, refs = dict(loaded.example), list[StageRef]()
    with phases.phase("export"):
        for number, stage in enumerate(loaded.stages):
            phases.at(number, len(loaded.stages))
            exported = export_stage(stage, example=tensors)
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
