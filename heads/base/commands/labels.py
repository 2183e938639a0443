"""``zoo labels``: the pictures that labels name, as bytes in the zoo."""

from collections.abc import Sequence
from pathlib import Path

import click

from heads.base.commands.bar import shown_phases
from heads.base.images import fill_images, missing_images
from heads.base.packages import load_package
from zoo.console import domain_errors, json_option, open_zoo, print_json, print_table, zoo_option
from zoo.errors import Undecodable

__all__ = ["labels"]

_ENDINGS = (".jpeg", ".jpg", ".png")


@click.group()
def labels() -> None:
    """Store the pictures that labels name.

    Example: zoo labels put photos/
    """


@labels.command()
@click.argument("paths", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path), metavar="PATH...")
@zoo_option
@json_option
@click.pass_context
def put(context: click.Context, paths: tuple[Path, ...], as_json: bool) -> None:
    """Store the JPEG and PNG files of each PATH, files or folders, and print the digest and the name of each.

    The digest is what a line of labels has as "image". Storing a file again changes nothing.

    Example: zoo labels put photos/ > digests.txt
    """
    files = _files(paths)
    with open_zoo(context) as zoo, domain_errors():
        for file in files:
            _check(file)
        stored = [{"digest": zoo.blobs.put(file.read_bytes()), "file": str(file)} for file in files]
    if as_json:
        print_json(stored)
    else:
        click.echo("".join(f"{each['digest']} {each['file']}\n" for each in stored), nl=False)


@labels.command()
@click.argument("teams", nargs=-1, required=True, metavar="TEAM...")
@zoo_option
@json_option
@click.pass_context
def fill(context: click.Context, teams: tuple[str, ...], as_json: bool) -> None:
    """Have heads/TEAM/images.py make the pictures that the labels of each TEAM name and the zoo lacks.

    `zoo head train` does the same before it trains.

    Example: zoo labels fill glyphs digits
    """
    rows = []
    with open_zoo(context) as zoo, domain_errors():
        for team in teams:
            package = load_package(team)
            read = package.labels()
            with shown_phases(team, hidden=as_json) as phases, phases.phase("images"):
                filled = fill_images(zoo, package, read, on_image=phases.at)
            rows.append((team, filled.named, filled.put, len(missing_images(zoo, read))))
    columns = ("team", "named", "put", "missing")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_table(columns, rows)


def _files(paths: Sequence[Path]) -> list[Path]:
    """Return the files that are named, and the pictures below the folders that are named, in order of path."""
    found = {file for path in paths for file in (path.rglob("*") if path.is_dir() else [path])}
    pictures = sorted(file for file in found if file.is_file() and (file in paths or file.suffix.lower() in _ENDINGS))
    if not pictures:
        raise click.UsageError(f"There is no {', '.join(_ENDINGS)} file in {', '.join(map(str, paths))}.")
    return pictures


def _check(file: Path) -> None:
    from zoo.preprocessing.image import check_image

    try:
        check_image(file.read_bytes())
    except Undecodable as error:
        raise Undecodable(f"{file} is not stored, nor is any other. {error}") from error
