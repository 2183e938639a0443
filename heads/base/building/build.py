"""From a head package to a published version, or to the one that was built from the same things already."""

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Literal

from heads.base.building.company import Company, Word, company
from heads.base.building.ingredients import Ingredients, gather
from heads.base.building.phases import Phases
from heads.base.errors import InvalidHead
from heads.base.images import fill_images
from heads.base.packages import Package
from heads.base.runs.watching import Watch, unwatched
from zoo import Move, Version, Zoo
from zoo.references import check_alias

__all__ = ["Build", "build_head"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Build:
    """What a build came to.

    Attributes:
        version: the version that now answers for these ingredients.
        status: ``published``, or ``unchanged`` if a version was built from the same things.
        promoted: the aliases that moved to it.
        seconds: how long each phase took.
        notes: what whoever builds should know: a precision that is not published, and why.
    """

    version: Version
    status: Literal["published", "unchanged"]
    promoted: tuple[str, ...]
    seconds: dict[str, float]
    notes: tuple[str, ...] = ()


def build_head(
    zoo: Zoo,
    package: Package,
    *,
    by: str,
    promote_to: Sequence[str] = (),
    force: bool = False,
    phases: Phases | None = None,
    watch: Watch = unwatched,
) -> Build:
    """Build a head unless it was built already, and move aliases to it.

    Of processes that ``torchrun`` started, all of which call this, the first builds; the others take part in its
    training alone, and return what it built.

    Args:
        zoo: where its backbone is, and where it is published.
        package: the head package.
        by: who builds.
        promote_to: aliases to move; with a new version, in the transaction that publishes it.
        force: build even if a version was built from the same things.
        phases: times the phases and reports progress.
        watch: who watches the training, and where it goes on if it was killed.

    Raises:
        RunAtWork: another process builds the same, and this build keeps a run folder.
        InvalidReference: an alias is no name.
        Conflict: the head belongs to another team.
        InvalidHead: the declaration does not fit the labels or the backbone.
        InvalidLabels: the labels do not parse, preprocessing refuses one of them, or a picture cannot be made again.
        BackboneChanged: the backbone's source no longer gives the weights that the zoo has.
        TrainingFailed: the loss is not a number.
        GateMissed: the head is below its gate. Nothing was published.
        ParityMissed: an export is too far from the torch model. Nothing was published.
        ProcessLost: another process failed, or is gone.
        FirstProcessFailed: the first process failed, in any of the ways above.
    """
    phases = phases or Phases()
    for alias in promote_to:
        check_alias(alias)
    processes = company()
    if processes is None:
        return _build(zoo, package, by, promote_to, force, phases, watch)
    if processes.rank:
        return _take_part(zoo, package, phases, watch, processes)
    with processes.leading():
        built = _build(zoo, package, by, promote_to, force, phases, watch, processes)
        processes.say("built", number=built.version.number, status=built.status, promoted=built.promoted)
    return built


def _build(
    zoo: Zoo,
    package: Package,
    by: str,
    promote_to: Sequence[str],
    force: bool,
    phases: Phases,
    watch: Watch,
    processes: Company | None = None,
) -> Build:
    """Build as the only process, or as the first of several."""
    with phases.phase("check"):
        ingredients = gather(zoo, package)
    if not force and (built := _built(zoo, ingredients, promote_to, by, phases)):
        return built
    with phases.phase("images"):
        fill_images(zoo, package, ingredients.labels, on_image=phases.at)
    with phases.phase("load torch"):
        from heads.base.building.pipeline import make_version
    with watch(ingredients, phases) as watched, processes.noticing() if processes else nullcontext():
        manifest = make_version(zoo, ingredients, by=by, phases=phases, watched=watched, processes=processes)
    # Another process may have built the same while this one did: one version of it is enough.
    if not force and (built := _built(zoo, ingredients, promote_to, by, phases)):
        return built
    with phases.phase("publish"):
        version = zoo.publish(manifest, promote_to=promote_to, reason=f"built by {by}")
    return Build(
        version=version,
        status="published",
        promoted=tuple(promote_to),
        seconds=phases.seconds,
        notes=tuple(phases.notes),
    )


def _take_part(zoo: Zoo, package: Package, phases: Phases, watch: Watch, processes: Company) -> Build:
    """Train with the first process when it says so, and return what it built."""

    def train(word: Word) -> None:
        ingredients = gather(zoo, package)
        if ingredients.key != word["key"]:
            raise InvalidHead(
                f"{package.head.name!r} has the build key {ingredients.key[:12]} here and {word['key'][:12]} in the "
                "first process; expected the same labels, recipe, code and libraries in all processes."
            )
        from heads.base.building.pipeline import take_part

        with watch(ingredients, phases) as watched:
            take_part(zoo, ingredients, phases=phases, watched=watched)

    word = processes.follow(train)
    version = next(each for each in zoo.versions(package.head.name) if each.number == word["number"])
    return Build(version=version, status=word["status"], promoted=tuple(word["promoted"]), seconds=phases.seconds)


def _built(zoo: Zoo, ingredients: Ingredients, promote_to: Sequence[str], by: str, phases: Phases) -> Build | None:
    """Return the version that was built from the same things, with the aliases on it, if there is one."""
    version = zoo.find_build(ingredients.package.head.name, ingredients.key)
    if version is None:
        return None
    moved = _promote(zoo, version, promote_to, by=by)
    return Build(version=version, status="unchanged", promoted=moved, seconds=phases.seconds)


def _promote(zoo: Zoo, version: Version, aliases: Sequence[str], *, by: str) -> tuple[str, ...]:
    """Move the aliases that are not at the version yet; return which moved."""
    summary = next(summary for summary in zoo.heads() if summary.name == version.head)
    standing = {state.alias: state.number for state in summary.aliases}
    moves = [
        Move(version.head, alias, version.number)
        for alias in dict.fromkeys(aliases)
        if standing.get(alias) != version.number
    ]
    if moves:
        zoo.promote(moves, by=by, reason="built before from the same things")
    return tuple(move.alias for move in moves)
