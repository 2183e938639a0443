"""Load what is live in a zoo: after this, answering a request looks nothing up in the registry.

With the plan that runs now at hand only what is new is read and loaded, and a version that does not load costs its own
alias alone: whatever answered there before goes on.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from serving.errors import UnknownModel
from serving.parts import Parts, Progress
from serving.plan import AliasTarget, LoadedPlan, LoadFailure, ServedVersion, build_plan
from serving.precision import Asked
from serving.runtimes.base import Runtime
from zoo import Version, Zoo
from zoo.registry.records import Live
from zoo.suggest import did_you_mean

__all__ = ["LoadedPlan", "Progress", "empty_plan", "load_plan"]

NOTHING_BROKEN: Mapping[str, Exception] = MappingProxyType({})


def _tell_nobody(*_: object) -> None:
    """Report progress to nobody."""


def empty_plan() -> LoadedPlan:
    """Return a plan that answers nothing: what a server has before its first one is loaded."""
    return LoadedPlan(plan=build_plan((), {}), executables={}, preprocessors={})


def load_plan(
    zoo: Zoo,
    runtime: Runtime,
    *,
    heads: Sequence[str] = (),
    aliases: Sequence[str] = (),
    progress: Progress = _tell_nobody,
    share: bool = True,
    precision: Asked = "auto",
    before: LoadedPlan | None = None,
    broken: Mapping[str, Exception] = NOTHING_BROKEN,
) -> LoadedPlan:
    """Load every version that an alias leads to: each distinct stage and preprocessor once. Nothing runs yet.

    Args:
        zoo: where the versions, and the bytes of their stages, are.
        runtime: what loads and runs the stages.
        heads: serve these alone; every head if empty.
        aliases: serve what is under these alone; under any alias if empty.
        progress: told of each stage that is loaded.
        share: give every version stages of its own if it is false, to compare with.
        precision: what to compute in, where a version has it published; ``auto`` takes what suits the device.
        before: the plan that runs now. What it has loaded is not loaded again, and where a version of an alias fails,
            the new plan has what this one has there, and a ``LoadFailure``.
        broken: versions, by digest, that loaded and did not run, with the cause.

    Returns:
        The plan, and everything that runs it.

    Raises:
        UnknownModel: nothing is live, or a named head or alias is not.
        StageFailed: without ``before``: a stage is not stored in the runtime's format, or does not load.
        Corrupt: without ``before``: stored bytes differ from their digest.
        Unavailable: the registry cannot be reached; without ``before``, or a blob cannot.
    """
    epoch = zoo.newest_promotion()  # first: what is promoted in between is then looked at once more, and never missed
    wanted = _wanted(zoo.live(), heads, aliases)
    parts = Parts(zoo, runtime, before or empty_plan(), share=share, failed=broken)
    versions = {version.digest: version for each in wanted for version in _versions(each)}
    parts.read(versions.values(), precision)
    parts.load(versions, progress)
    if before is None:
        for error in parts.failed.values():
            raise error
    return _put_together(wanted, parts, before or empty_plan(), epoch=epoch, share=share)


def _wanted(live: Sequence[Live], heads: Sequence[str], aliases: Sequence[str]) -> list[Live]:
    """Keep the named heads and aliases, and say what to do if that leaves nothing."""
    if not live:
        raise UnknownModel(
            "Nothing is live in this zoo: no version is under an alias. `zoo ls` lists the heads, `zoo promote "
            "<head>@<number> prod` puts a version under one, `zoo head train <team> --promote prod` makes one."
        )
    _check_named("head", heads, {each.version.head for each in live})
    _check_named("alias", aliases, {each.alias for each in live})
    wanted = [
        each for each in live if (not heads or each.version.head in heads) and (not aliases or each.alias in aliases)
    ]
    if not wanted:
        raise UnknownModel(
            f"None of {', '.join(heads)} is under {' or '.join(aliases)}. "
            f"`zoo promote {heads[0]}@<number> {aliases[0]}` puts a version there."
        )
    return wanted


def _check_named(kind: str, named: Sequence[str], live: set[str]) -> None:
    for name in named:
        if name not in live:
            raise UnknownModel(f"No {kind} {name!r} is live in this zoo.{did_you_mean(name, live)}")


def _versions(live: Live) -> Iterator[Version]:
    yield live.version
    if live.canary:
        yield live.canary
    yield from live.shadows


def _put_together(wanted: Sequence[Live], parts: Parts, before: LoadedPlan, *, epoch: int, share: bool) -> LoadedPlan:
    """Make the plan of what loaded; where an alias' version did not, of what the plan before has there."""
    standing = {(target.head, target.alias): target for target in before.plan.targets}
    chosen = [
        _target(each, parts)
        if not _answering(each) & parts.failed.keys()
        else standing.get((each.version.head, each.alias))
        for each in wanted
    ]
    # A version that served before and does not load in another form serves on in the one that it had.
    kept = {version.digest: version for version in before.plan.versions if version.digest in parts.failed}
    targets, versions = _with_aliases([target for target in chosen if target], {**parts.versions, **kept})
    plan = build_plan(versions, parts.stages, targets=targets, share=share)
    return LoadedPlan(
        plan=plan,
        executables={node.executable: parts.executables[node.executable] for node in plan.nodes()},
        preprocessors={version.preprocessing: parts.preprocessors[version.preprocessing] for version in versions},
        epoch=epoch,
        failures=tuple(_failures(wanted, parts.failed)),
    )


def _answering(live: Live) -> set[str]:
    return {version.digest for version in (live.version, live.canary) if version}


def _target(live: Live, parts: Parts) -> AliasTarget:
    return AliasTarget(
        head=live.version.head,
        alias=live.alias,
        epoch=live.epoch,
        live=parts.versions[live.version.digest],
        canary=parts.versions[live.canary.digest] if live.canary else None,
        canary_percent=live.canary_percent,
        shadows=tuple(parts.versions[each.digest] for each in live.shadows if each.digest not in parts.failed),
    )


def _with_aliases(
    targets: Sequence[AliasTarget], known: Mapping[str, ServedVersion]
) -> tuple[list[AliasTarget], list[ServedVersion]]:
    """Return the targets over versions that say which aliases lead to them, and each of these versions once."""
    aliases: dict[str, dict[str, int]] = {}
    for target in targets:
        for version in target.versions():
            aliases.setdefault(version.digest, {})
        aliases[target.live.digest][target.alias] = target.epoch
    fresh = {
        digest: known[digest] if known[digest].aliases == leading else replace(known[digest], aliases=leading)
        for digest, leading in aliases.items()
    }
    return [target.over(fresh) for target in targets], list(fresh.values())


def _failures(wanted: Iterable[Live], failed: Mapping[str, Exception]) -> Iterator[LoadFailure]:
    for each in wanted:
        for version in _versions(each):
            if version.digest in failed:
                yield LoadFailure(
                    head=version.head,
                    alias=each.alias,
                    number=version.number,
                    digest=version.digest,
                    cause=str(failed[version.digest]),
                )
