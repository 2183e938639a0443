"""``zoo head check``: what is wrong with the labels of head packages, and what may be."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import click

from heads.base.building.phases import Phases
from heads.base.commands.bar import shown_phases
from heads.base.declaration import Segment, Tag
from heads.base.packages import Package, load_package
from heads.base.tasks.masks import open_masks
from heads.base.testing.findings import Finding
from heads.base.testing.labels import all_examples, examine_labels
from zoo import Zoo
from zoo.console import DomainFailure, json_option, open_zoo, print_json, print_table, zoo_option
from zoo.errors import NotFound
from zoo.labels import Labels

__all__ = ["check"]

NEAR = 0.9
"""The cosine, of features less their mean, from which on two inputs are taken to be nearly the same."""


@click.command()
@click.argument("teams", nargs=-1, required=True, metavar="TEAM...")
@click.option("--near", default=NEAR, show_default=True, type=click.FloatRange(0, 1), help="Cosine of near duplicates.")
@click.option("--strict", is_flag=True, help="Near duplicates between splits are errors, too.")
@click.option("--file-only", is_flag=True, help="Read the labels file alone: no zoo, no backbone, no torch.")
@zoo_option
@json_option
@click.pass_context
def check(
    context: click.Context, teams: tuple[str, ...], *, near: float, strict: bool, file_only: bool, as_json: bool
) -> None:
    """Check the labels of each TEAM: duplicates and near duplicates between splits, few examples, suspicious labels.

    What says something about the test split looks at its inputs, and never at its labels.

    Example: zoo head check intent urgency --strict
    """
    found: dict[str, list[Finding]] = {}
    for team in teams:
        package = load_package(team)
        labels = package.labels()
        found[team] = examine_labels(package.head, labels, near="error" if strict else "warning")
        if not file_only:
            with shown_phases(team, hidden=as_json) as phases:
                found[team] += _examine_features(context, package, labels, near, strict, phases)
    if as_json:
        print_json([{"team": team, "findings": [asdict(each) for each in each_of]} for team, each_of in found.items()])
    else:
        _print(found)
    if errors := sum(each.severity == "error" for each_of in found.values() for each in each_of):
        raise DomainFailure(f"{errors} {'errors' if errors > 1 else 'error'} in labels; a head should not be trained.")


def _examine_features(
    context: click.Context, package: Package, labels: Labels, near: float, strict: bool, phases: Phases
) -> list[Finding]:
    try:
        with open_zoo(context) as zoo:
            zoo.backbone(package.head.backbone)
            return _with_torch(zoo, package, labels, near, strict, phases)
    except NotFound as absent:
        return [
            Finding(
                severity="note",
                kind="not checked",
                ids=(),
                text=f"near duplicates by embedding and suspicious labels: {absent}",
            )
        ]


def _with_torch(zoo: Zoo, package: Package, labels: Labels, near: float, strict: bool, phases: Phases) -> list[Finding]:
    with phases.phase("load torch"):
        from heads.base.testing.neighbours import duplicates, near_duplicates
        from heads.base.testing.suspicious import suspicious_labels
        from heads.base.testing.suspicious_parts import suspicious_parts
        from heads.base.testing.vectors import place, place_parts
    placed = place(zoo, package, all_examples(labels), phases)
    head = package.head
    training = open_masks(zoo, head, labels, zoo.backbone(head.backbone).manifest.preprocessing).for_training()
    learned = (*training.train, *training.valid)
    found = [*duplicates(placed), *near_duplicates(placed, above=near, severity="error" if strict else "warning")]
    if isinstance(head.task, Tag | Segment):
        parts = place_parts(zoo, package, learned, phases)
        with phases.phase("suspicious labels"):
            return [*found, *suspicious_parts(head.task, parts)]
    whole = place(zoo, package, learned, phases)
    with phases.phase("suspicious labels"):
        return [*found, *suspicious_labels(head.task, whole)]


def _print(found: Mapping[str, Sequence[Finding]]) -> None:
    for team, each_of in found.items():
        counts = Counter(each.severity for each in each_of)
        if each_of:
            print_table(("", "what", "found"), [(each.severity, each.kind, each.text) for each in each_of], title=team)
        click.echo(f"{team}: {counts['error']} errors, {counts['warning']} warnings")
