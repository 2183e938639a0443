"""From a head package to a published version, or to the one that was built from the same things already."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from heads.base.fingerprint import build_key, code_fingerprint, environment
from heads.base.fit import check_labels, shared_stages
from heads.base.packages import Package
from heads.base.phases import Phases
from heads.base.recipe import Recipe
from zoo import Backbone, Move, Version, Zoo
from zoo.digest import path_digest
from zoo.labels import Labels
from zoo.manifest import StageRef

__all__ = ["Build", "Ingredients", "build_head", "gather"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ingredients:
    """Everything that goes into a version.

    Attributes:
        package: the head package.
        labels: its labels, checked against its declaration.
        recipe: its recipe.
        backbone: what it builds on.
        shared: the leading stages of the backbone that it builds on.
        code: fingerprint of the source that builds it.
        libraries: versions of what the source needs.
        key: digest of all of this.
    """

    package: Package
    labels: Labels
    recipe: Recipe
    backbone: Backbone
    shared: tuple[StageRef, ...]
    code: str
    libraries: dict[str, str]
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build came to.

    Attributes:
        version: the version that now answers for these ingredients.
        status: ``published``, or ``unchanged`` if there was nothing to build.
        promoted: the aliases that moved to it.
        seconds: how long each phase took.
    """

    version: Version
    status: Literal["published", "unchanged"]
    promoted: tuple[str, ...]
    seconds: dict[str, float]


def build_head(
    zoo: Zoo,
    package: Package,
    *,
    by: str,
    promote_to: Sequence[str] = (),
    force: bool = False,
    phases: Phases | None = None,
) -> Build:
    """Build a head unless it was built already, and move aliases to it.

    Args:
        zoo: where its backbone is, and where it is published.
        package: the head package.
        by: who builds.
        promote_to: aliases to move; with a new version, in the transaction that publishes it.
        force: build even if a version was built from the same things.
        phases: times the phases and reports progress.

    Raises:
        InvalidHead: the declaration does not fit the labels or the backbone.
        InvalidLabels: the labels do not parse, or preprocessing refuses one of them.
        BackboneChanged: the backbone's source no longer gives the weights that the zoo has.
        TrainingFailed: the loss is not a number.
        GateMissed: the head is below its gate. Nothing was published.
        ParityMissed: an export is too far from the torch model. Nothing was published.
    """
    phases = phases or Phases()
    with phases.phase("check"):
        ingredients = gather(zoo, package)
        built = None if force else zoo.find_build(package.head.name, ingredients.key)
        if built:
            moved = _promote(zoo, built, promote_to, by=by)
            return Build(version=built, status="unchanged", promoted=moved, seconds=phases.seconds)
    with phases.phase("load torch"):
        from heads.base.pipeline import make_version
    manifest = make_version(zoo, ingredients, by=by, phases=phases)
    with phases.phase("publish"):
        version = zoo.publish(manifest, promote_to=promote_to, reason=f"built by {by}")
    return Build(version=version, status="published", promoted=tuple(promote_to), seconds=phases.seconds)


def gather(zoo: Zoo, package: Package) -> Ingredients:
    """Read everything that goes into a version, and check that it fits together. Imports no torch."""
    head, labels, recipe = package.head, package.labels(), package.recipe()
    check_labels(head, labels)
    backbone = zoo.backbone(head.backbone)
    shared = shared_stages(head, backbone)
    code, libraries = code_fingerprint(package.folder), environment()
    key = build_key(
        head,
        recipe,
        labels=labels.digest,
        code=code,
        path=path_digest(stage.digest for stage in shared),
        preprocessing=backbone.manifest.preprocessing.content_digest(),
        libraries=libraries,
    )
    return Ingredients(
        package=package,
        labels=labels,
        recipe=recipe,
        backbone=backbone,
        shared=shared,
        code=code,
        libraries=libraries,
        key=key,
    )


def _promote(zoo: Zoo, version: Version, aliases: Sequence[str], *, by: str) -> tuple[str, ...]:
    """Move the aliases that are not at the version yet; return which moved."""
    summary = next(summary for summary in zoo.heads() if summary.name == version.head)
    standing = {state.alias: state.number for state in summary.aliases}
    moves = [Move(version.head, alias, version.number) for alias in aliases if standing.get(alias) != version.number]
    if moves:
        zoo.promote(moves, by=by, reason="built before from the same things")
    return tuple(move.alias for move in moves)
