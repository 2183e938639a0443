"""Everything that goes into a version of a head, read and checked before anything is built. Imports no torch."""

from dataclasses import dataclass

from heads.base.building.fingerprint import build_key, code_fingerprint, environment
from heads.base.fit import attached_stages, check_labels, check_noise, check_read, count_shared
from heads.base.packages import Package
from heads.base.recipe import Recipe
from heads.base.tasks.masks import open_masks
from zoo import Backbone, Zoo
from zoo.digest import path_digest
from zoo.labels import Labels
from zoo.manifest import StageRef

__all__ = ["Ingredients", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """Everything that goes into a version.

    Attributes:
        package: the head package.
        labels: its labels, checked against its declaration.
        recipe: its recipe.
        backbone: what it builds on.
        attached: the leading stages of the backbone that it builds on.
        shared: those of them that it leaves as they are; its tail has copies of the others.
        code: fingerprint of the source that builds it.
        libraries: versions of what the source needs.
        key: digest of all of this.
    """

    package: Package
    labels: Labels
    recipe: Recipe
    backbone: Backbone
    attached: tuple[StageRef, ...]
    shared: tuple[StageRef, ...]
    code: str
    libraries: dict[str, str]
    key: str


def gather(zoo: Zoo, package: Package) -> Ingredients:
    """Read everything that goes into a version, and check that it fits together. Imports no torch."""
    head, labels, recipe = package.head, package.labels(), package.recipe()
    check_labels(head, labels)
    check_read(head, recipe)
    zoo.check_owner(head.name, head.team)
    backbone = zoo.backbone(head.backbone)
    attached = attached_stages(head, backbone)
    shared = attached[: count_shared(head, [zoo.stage(stage.digest) for stage in attached])]
    check_noise(head, recipe, backbone.manifest.preprocessing, shared=len(shared))
    code, libraries = code_fingerprint(package.folder), environment()
    key = build_key(
        head,
        recipe,
        labels=labels.digest,
        code=code,
        path=path_digest(stage.digest for stage in attached),
        preprocessing=backbone.manifest.preprocessing.content_digest(),
        libraries=libraries,
    )
    return Ingredients(
        package=package,
        labels=open_masks(zoo, head, labels, backbone.manifest.preprocessing),
        recipe=recipe,
        backbone=backbone,
        attached=attached,
        shared=shared,
        code=code,
        libraries=libraries,
        key=key,
    )
