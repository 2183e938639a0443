"""Load what is live in a zoo: after this, answering a request looks nothing up in the registry."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from serving.errors import StageFailed, UnknownModel
from serving.execution import Execution
from serving.plan import LoadedPlan, Plan, Precision, Root, Route, ServedVersion, build_plan
from serving.runtimes.base import Executable, Runtime
from zoo import Zoo
from zoo.preprocessing import Preprocessor, Row, load_preprocessor
from zoo.registry.records import Live
from zoo.suggest import did_you_mean

__all__ = ["LoadedPlan", "Progress", "load_plan"]

Progress = Callable[[str, int, int], None]
"""Called with what was just done, how many steps are done, and how many there are."""


def _tell_nobody(*_: object) -> None:
    """Report progress to nobody."""


def load_plan(
    zoo: Zoo,
    runtime: Runtime,
    *,
    heads: Sequence[str] = (),
    aliases: Sequence[str] = (),
    progress: Progress = _tell_nobody,
    share: bool = True,
    precision: Literal["auto"] | Precision = "auto",  # noqa: ARG001 - next
    before: LoadedPlan | None = None,  # noqa: ARG001 - next
) -> LoadedPlan:
    """Load every version under an alias: each distinct stage and preprocessor once; then run every path on one row.

    Args:
        zoo: where the versions, and the bytes of their stages, are.
        runtime: what loads and runs the stages.
        heads: serve these alone; every head if empty.
        aliases: serve what is under these alone; under any alias if empty.
        progress: told of each stage.
        share: give every version stages of its own if it is false, to compare with.
        precision: what to compute in; by default what suits the device, where it is published.
        before: the plan that runs now; what it has loaded is not loaded again.

    Returns:
        The plan, and everything that runs it.

    Raises:
        UnknownModel: nothing is live, or a named head or alias is not.
        StageFailed: a stage is not stored in the runtime's format, does not load, or does not run.
        Corrupt: stored bytes differ from their digest.
    """
    served = _served(zoo, _wanted(zoo.live(), heads, aliases))
    stages = {ref.digest: zoo.stage(ref.digest) for version in served for ref in version.manifest.stages}
    plan = build_plan(served, stages, share=share)
    loaded = LoadedPlan(
        plan=plan,
        executables=_load_stages(zoo, runtime, plan, progress),
        preprocessors={
            version.preprocessing: load_preprocessor(version.manifest.preprocessing, zoo.blobs.get)
            for version in {version.preprocessing: version for version in served}.values()
        },
    )
    _warm_up(loaded, runtime)
    return loaded


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


def _served(zoo: Zoo, live: Sequence[Live]) -> list[ServedVersion]:
    """Return each live version once, with all the aliases that lead to it."""
    aliases: dict[str, dict[str, int]] = {}
    for each in live:
        aliases.setdefault(each.version.digest, {})[each.alias] = each.epoch
    served = []
    for version in {each.version.digest: each.version for each in live}.values():
        manifest = zoo.manifest(version)
        served.append(
            ServedVersion(
                head=version.head,
                number=version.number,
                digest=version.digest,
                preprocessing=manifest.preprocessing.content_digest(),
                manifest=manifest,
                aliases=aliases[version.digest],
            )
        )
    return served


def _load_stages(zoo: Zoo, runtime: Runtime, plan: Plan, progress: Progress) -> dict[str, Executable]:
    stages = {node.executable: node.stage for root in plan.roots for node in root.node.walk()}
    executables: dict[str, Executable] = {}
    for key, stage in stages.items():
        artifact = stage.artifacts.get(runtime.format)
        if artifact is None:
            raise StageFailed(
                f"Stage {stage.name!r} is not stored as {runtime.format}, only as {', '.join(stage.artifacts)}; the "
                f"runtime {runtime.name!r} needs that. Publish it again in that format, or serve with another runtime."
            )
        executables[key] = runtime.load(stage, zoo.blobs.get(artifact.blob))
        progress(f"loaded {stage.name}", len(executables), len(stages))
    return executables


@dataclass(frozen=True, slots=True, kw_only=True)
class _WarmUp:
    """A row that asks everything of one tree."""

    row: Row
    route: Route


def _warm_up(loaded: LoadedPlan, runtime: Runtime) -> None:
    """Run every path once, so that the first caller does not pay for it, and what cannot run is found now."""
    execution = Execution(loaded, runtime, time.monotonic)
    for root in loaded.plan.roots:
        row = _smallest_row(loaded.preprocessors[root.preprocessing])
        result = execution.run(root, [_WarmUp(row=row, route=_everything(loaded.plan, root))])
        for failure in result.failures.values():
            raise StageFailed(f"{failure} The cause: {failure.__cause__}") from failure


def _smallest_row(preprocessor: Preprocessor) -> Row:
    """Return a row of ones: a token that is there, or a grey image; dynamic axes have size 1."""
    tensors = {
        spec.name: np.ones([axis if isinstance(axis, int) else 1 for axis in spec.shape[1:]], spec.dtype)
        for spec in preprocessor.declared
    }
    return Row(tensors=tensors, length=1, digest="")


def _everything(plan: Plan, root: Root) -> Route:
    versions = [version for node in root.node.walk() for version in node.versions]
    (route,) = plan.routes(versions)
    return route
