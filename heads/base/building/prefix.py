"""The frozen part of a path in torch: rebuilt from the backbone's source, and checked to be what the zoo has."""

import functools
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from backbone.errors import UnknownSource
from backbone.load import LoadedBackbone, load_backbone
from backbone.stage import Stage, run_path
from heads.base.errors import BackboneChanged
from zoo.digest import path_digest
from zoo.manifest import StageManifest, TensorSpec
from zoo.registry.records import Backbone

__all__ = ["FrozenPrefix"]


class FrozenPrefix:
    """The leading stages of a backbone, frozen. Nothing is loaded before the first run.

    Args:
        backbone: the backbone in the zoo.
        stages: manifests of all stages of the backbone.
        count: how many of them are run.
        inputs: the tensors that preprocessing gives.
    """

    def __init__(
        self, backbone: Backbone, stages: Sequence[StageManifest], count: int, inputs: Sequence[TensorSpec]
    ) -> None:
        self.backbone = backbone
        self.path_digest = path_digest(stage.digest for stage in stages[:count])
        self.computed = {spec.name: spec for stage in stages[:count] for spec in stage.outputs}
        self.available = {spec.name: spec for spec in inputs} | self.computed
        self._split = tuple(int(stage.architecture["blocks"][0]) for stage in stages)
        self._count = count
        self._loaded: tuple[Stage, ...] = ()
        self._loading = threading.Lock()

    def stages(self) -> tuple[Stage, ...]:
        """Return the stages in torch, in eval mode, loading the backbone at the first call.

        Raises:
            BackboneChanged: the source is gone, or now gives other stages than the zoo has.
        """
        return self._all()[: self._count]

    def following(self, end: int) -> tuple[Stage, ...]:
        """Return the stages of the backbone after these, up to index ``end``, on the CPU. To train them, copy them.

        Raises:
            BackboneChanged: as ``stages`` does.
        """
        return tuple(stage.to("cpu") for stage in self._all()[self._count : end])

    def run(self, batch: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run the stages on a batch, on the GPU if there is one; return the tensors that they computed."""
        device = "cuda" if torch.cuda.is_available() else "cpu"
        stages = [stage.to(device) for stage in self.stages()]
        with torch.inference_mode():
            known = run_path(stages, {name: torch.from_numpy(array).to(device) for name, array in batch.items()})
            return {name: known[name].cpu().numpy() for name in self.computed}

    def to_cpu(self) -> list[Stage]:
        """Return the stages on the CPU, where exports are made and compared."""
        return [stage.to("cpu") for stage in self.stages()]

    def _all(self) -> tuple[Stage, ...]:
        with self._loading:
            if not self._loaded:
                self._loaded = self._load()
            return self._loaded

    def _load(self) -> tuple[Stage, ...]:
        manifest = self.backbone.manifest
        try:
            loaded = _load_once(manifest.source, self._split, manifest.name)
        except UnknownSource as error:
            cut = ",".join(map(str, self._split))
            raise BackboneChanged(
                f"{self.backbone} was added from {manifest.source!r}, which cannot be loaded here: {error} Restore it "
                "there, or add it from where it is now; equal weights are the same stages, and no head is built anew: "
                f"`zoo backbone add {manifest.source.partition(':')[0]}:<folder> --name {manifest.name} --split {cut}`."
            ) from error
        if loaded.source_digest != manifest.source_digest:
            raise BackboneChanged(
                f"{self.backbone} was added from {manifest.source!r}, which now gives other weights "
                f"({loaded.source_digest[:12]}…) than the zoo has ({manifest.source_digest[:12]}…). "
                f"Restore the source, or add what it is now: "
                f"`zoo backbone add {manifest.source} --name {manifest.name}`."
            )
        return loaded.stages


@functools.lru_cache(maxsize=1)
def _load_once(source: str, split: tuple[int, ...], name: str) -> LoadedBackbone:
    """Load a backbone, or take the last one again: heads that are built one after the other share it."""
    return load_backbone(source, split=split, name=name)
