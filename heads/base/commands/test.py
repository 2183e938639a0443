"""``zoo head test``: run a team's own tests against a version of its head."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from xml.etree import ElementTree

import click

from heads.base.packages import Package, load_package
from heads.base.testing.loading import FRESH, VERSION_VARIABLE
from zoo.console import DomainFailure, json_option, open_zoo, print_json, settings_of, zoo_option

__all__ = ["test"]

_NO_TESTS = 5
_STDERR = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class _Outcome:
    """How the tests of one package went."""

    team: str
    version: str
    passed: int
    failed: tuple[str, ...]
    skipped: int
    readings: int


@click.command()
@click.argument("teams", nargs=-1, required=True, metavar="TEAM...")
@click.option("--version", "selector", default="", metavar="SELECTOR", help="A number, an alias or a digest.  [prod]")
@click.option("--fresh", is_flag=True, help="Build the head as it is here if need be, and test that.")
@click.option("--only", default="", metavar="WORDS", help="Only tests whose names match, as pytest's -k.")
@zoo_option
@json_option
@click.pass_context
def test(
    context: click.Context, teams: tuple[str, ...], *, selector: str, fresh: bool, only: str, as_json: bool
) -> None:
    """Run the tests of each TEAM's package against a version of its head.

    Tests that read the test split leave a line in `zoo readings HEAD`.

    Example: zoo head test intent --version 7
    """
    if fresh and selector:
        raise click.UsageError("--fresh builds a version and --version names one. Choose one.")
    packages = [load_package(team) for team in teams]
    outcomes = [_run(context, package, FRESH if fresh else selector, only, as_json) for package in packages]
    if as_json:
        print_json([asdict(outcome) for outcome in outcomes])
    failed = [f"{outcome.team} ({', '.join(outcome.failed)})" for outcome in outcomes if outcome.failed]
    if failed:
        raise DomainFailure(f"Tests failed: {'; '.join(failed)}.")


def _run(context: click.Context, package: Package, selector: str, only: str, quiet: bool) -> _Outcome:
    head, settings = package.head, settings_of(context)
    with open_zoo(context) as zoo:
        # A version that is asked for is looked up before pytest starts: its absence is no failure of a test.
        chosen = head.name + (f"@{selector}" if selector and selector != FRESH else "")
        version = FRESH if selector == FRESH else str(zoo.resolve(chosen).version)
    environment = {
        "HYDRAZOO_ZOO": str(Path(settings.zoo).resolve()),
        "HYDRAZOO_DATABASE_URL": settings.database_url,
        "HYDRAZOO_BLOBS_URL": settings.blobs_url,
        VERSION_VARIABLE: selector or version.rpartition("@")[2],
    }
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        arguments = [str(package.folder), "-p", "no:cacheprovider", f"--junitxml={report}"]
        code = _pytest([*arguments, *(["-k", only] if only else [])], environment, quiet)
        if code == _NO_TESTS or not report.exists():
            raise DomainFailure(
                f"pytest ran no test of {package.folder} (exit code {code}); see above. "
                f"A package keeps its tests in test_{package.folder.name}.py."
            )
        suite = ElementTree.parse(report).getroot()  # noqa: S314 - pytest wrote it a moment ago
    with open_zoo(context) as zoo:
        readings = len(zoo.readings(head.name, package.labels().test_digest()))
    return _outcome(head.team, version, suite, readings)


def _pytest(arguments: Sequence[str], environment: Mapping[str, str], quiet: bool) -> int:
    """Run pytest in a process of its own, as the team runs it; what it prints is shown, and kept off JSON."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    done = subprocess.run(  # noqa: S603 - our own command
        command, env=os.environ | environment, stdout=_STDERR if quiet else None, check=False
    )
    return done.returncode


def _outcome(team: str, version: str, suite: ElementTree.Element, readings: int) -> _Outcome:
    cases = list(suite.iter("testcase"))
    failed = [case for case in cases if case.find("failure") is not None or case.find("error") is not None]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return _Outcome(
        team=team,
        version=version,
        passed=len(cases) - len(failed) - len(skipped),
        failed=tuple(case.get("name", "?") for case in failed),
        skipped=len(skipped),
        readings=readings,
    )
