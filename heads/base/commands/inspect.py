"""``zoo head inspect``: a report about a version, as one HTML file."""

from pathlib import Path

import click

from heads.base.commands.bar import shown_phases
from heads.base.packages import load_package
from zoo.author import author
from zoo.console import domain_errors, json_option, open_zoo, print_json, settings_of, zoo_option

__all__ = ["inspect"]


@click.command()
@click.argument("head")
@click.option("--version", "number", type=click.IntRange(min=1), metavar="N", help="Which version, by number.")
@click.option("--alias", metavar="ALIAS", help="Which version, by alias.  [default: prod, else the newest]")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="[default: HEAD-N.html]")
@click.option("--test", "reads_test", is_flag=True, help="Read the test split instead of valid. It is logged.")
@zoo_option
@json_option
@click.pass_context
def inspect(
    context: click.Context,
    head: str,
    number: int | None,
    alias: str | None,
    out: Path | None,
    reads_test: bool,
    as_json: bool,
) -> None:
    """Write a report about a version of HEAD: one HTML file that opens anywhere and loads nothing.

    Example: zoo head inspect intent --alias prod --out report.html
    """
    if number and alias:
        raise click.UsageError("--version and --alias both say which version; give one of them.")
    selector = f"@{number or alias}" if number or alias else ""
    with domain_errors(), open_zoo(context) as zoo, shown_phases(f"report of {head}", hidden=as_json) as phases:
        version = zoo.resolve(f"{head}{selector}").version
        package = load_package(zoo.manifest(version).team)
        with phases.phase("load torch"):
            from heads.base.inspect.collect import collect, labels_of
            from heads.base.inspect.report import make_report, write_report
            from heads.base.readings import read_test_split
        test = None
        if reads_test:
            build_key = zoo.manifest(version).build_key
            test = read_test_split(
                zoo,
                head,
                labels_of(zoo, version, package),
                by=author(),
                reason="zoo head inspect --test",
                build_key=build_key,
                number=version.number,
            ).examples
        with phases.phase("examples"):
            zoo_folder = Path(settings_of(context).zoo)
            subject = collect(zoo, version, package, zoo_folder=zoo_folder, test=test, on_rows=phases.at)
        with phases.phase("report"):
            text = make_report(subject, package.head, on_section=phases.at)
        file = out or Path(f"{version.head}-{version.number}.html")
        write_report(text, file)
    if as_json:
        print_json({"version": str(version), "file": str(file), "bytes": len(text.encode()), "split": subject.split})
    else:
        click.echo(f"wrote {file}: {version} on the {subject.split} split")
