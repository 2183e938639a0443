"""What ``zoo head train`` and ``python -m heads.<team>`` share: build packages one after the other, and report."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click

from heads.base.building.build import Build, build_head
from heads.base.commands.bar import shown_phases
from heads.base.commands.stopping import Stopped, stopping
from heads.base.launch import launched
from heads.base.packages import Package
from heads.base.runs.watching import Watch, watch_in
from zoo import Zoo
from zoo.author import author
from zoo.console import DomainFailure, domain_errors, open_zoo, print_json, print_table, settings_of
from zoo.manifest import VersionManifest

__all__ = ["train_packages"]


@dataclass(frozen=True, slots=True)
class _Outcome:
    """A build, or why there is none."""

    package: Package
    build: Build | None
    manifest: VersionManifest | None
    error: str
    stopped: bool = False


def train_packages(
    context: click.Context, packages: Sequence[Package], *, promote_to: Sequence[str], force: bool, as_json: bool
) -> None:
    """Build packages and print what came of each. One that fails does not keep the others from being built.

    Of several processes the first alone prints, and the first package that fails is the last: the processes may no
    longer be in step.

    Raises:
        DomainFailure: a package could not be built.
        Stopped: by Ctrl-C.
    """
    settings = settings_of(context)
    watch = watch_in(settings.zoo, mlflow_uri=settings.mlflow_uri or os.environ.get("MLFLOW_TRACKING_URI", ""))
    with open_zoo(context) as zoo:
        outcomes = list(_outcomes(zoo, settings.zoo, packages, promote_to, force, as_json, watch))
    if launched().rank:
        pass
    elif as_json:
        print_json([_as_json(outcome) for outcome in outcomes])
    elif any(outcome.build for outcome in outcomes):
        columns = ("head", "version", "status", "promoted", "score on test", "examples", "seconds")
        print_table(columns, [_row(outcome) for outcome in outcomes if outcome.build])
        for build in (outcome.build for outcome in outcomes if outcome.build):
            for note in build.notes:
                click.echo(f"{build.version}: {note}")
    if errors := [outcome.error for outcome in outcomes if outcome.error]:
        raise (Stopped if outcomes[-1].stopped else DomainFailure)("\n".join(errors))


def _outcomes(
    zoo: Zoo,
    zoo_folder: str,
    packages: Sequence[Package],
    promote_to: Sequence[str],
    force: bool,
    as_json: bool,
    watch: Watch,
) -> Iterator[_Outcome]:
    by, launch = author(), launched()
    for package in packages:
        name = package.head.name
        try:
            with (
                domain_errors(),
                stopping(zoo, zoo_folder, name),
                shown_phases(name, hidden=as_json or launch.rank > 0) as phases,
            ):
                build = build_head(zoo, package, by=by, promote_to=promote_to, force=force, phases=phases, watch=watch)
                yield _Outcome(package, build, zoo.manifest(build.version), "")
        except Stopped as stopped:
            yield _Outcome(package, None, None, stopped.message, stopped=True)
            return
        except DomainFailure as failure:
            yield _Outcome(package, None, None, failure.message)
            if launch.count > 1:
                return


def _row(outcome: _Outcome) -> tuple[object, ...]:
    build, manifest = outcome.build, outcome.manifest
    assert build is not None
    assert manifest is not None
    overall = manifest.metrics.overall
    watched = outcome.package.head.task.metrics[0]
    return (
        outcome.package.head.name,
        build.version,
        build.status,
        ", ".join(build.promoted) or "-",
        f"{watched} {overall.values[watched]:.3f}",
        overall.examples,
        f"{sum(build.seconds.values()):.1f}",
    )


def _as_json(outcome: _Outcome) -> dict[str, Any]:
    if outcome.build is None or outcome.manifest is None:
        return {"head": outcome.package.head.name, "status": "failed", "error": outcome.error}
    build = outcome.build
    return {
        "head": outcome.package.head.name,
        "version": str(build.version),
        "number": build.version.number,
        "digest": build.version.digest,
        "status": build.status,
        "promoted": list(build.promoted),
        "metrics": outcome.manifest.metrics.model_dump(mode="json"),
        "variants": sorted(outcome.manifest.variants),
        "notes": list(build.notes),
        "seconds": build.seconds,
    }
