"""``zoo backbone``: add shared backbones, and list them."""

from collections.abc import Sequence
from typing import Any, get_args

import click

from heads.base.building.fingerprint import absolute_source, backbone_key
from heads.base.building.phases import Phases
from heads.base.commands.bar import shown_phases
from zoo import Backbone, Zoo
from zoo.console import json_option, open_zoo, print_json, print_table, zoo_option
from zoo.digest import SHORT_DIGEST_LENGTH
from zoo.manifest import Format, VariantFormat
from zoo.publishing import needed_blobs

__all__ = ["backbone"]


@click.group()
def backbone() -> None:
    """Add shared backbones to the zoo, and list them.

    Example: zoo backbone add minilm
    """


def _parse_split(_context: click.Context, _option: click.Parameter, value: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in value.split(",") if part.strip())
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of block indices; expected for example 2,4.") from None


@backbone.command()
@click.argument("source")
@click.option("--name", default="", help="What to call it.  [default: made from the source]")
@click.option("--split", default="", callback=_parse_split, metavar="I,J", help="Blocks at which a new stage begins.")
@click.option(
    "--precision",
    "precisions",
    multiple=True,
    type=click.Choice(["int8", "fp16"]),
    help="Store its stages in this precision too, for CPUs (int8) or GPUs (fp16); may be repeated.",
)
@click.option("--force", is_flag=True, help="Load and export it even if nothing changed; heals damaged blobs.")
@zoo_option
@json_option
@click.pass_context
def add(
    context: click.Context,
    *,
    source: str,
    name: str,
    split: tuple[int, ...],
    precisions: tuple[str, ...],
    force: bool,
    as_json: bool,
) -> None:
    """Add the backbone SOURCE: minilm, glyphs, hf:<folder or name> or timm:<folder or name>. Makes the zoo if need be.

    Adding what is there already does nothing, and does it fast.

    With --precision every head that is trained on it is measured in that precision too, and may be served in it.

    Example: zoo backbone add hf:bert-base-uncased --name bert --split 4,8 --precision int8
    """
    source = absolute_source(source)
    forms = tuple(form for form in get_args(VariantFormat) if form.removeprefix("onnx-") in precisions)
    with open_zoo(context, create=True) as zoo:
        key = backbone_key(source, split, name)
        found = None if force else _find(zoo, key, forms)
        with shown_phases(f"backbone {source}", hidden=as_json) as phases:
            result = found or _add(zoo, phases, source=source, split=split, name=name, precisions=forms, key=key)
        described = {"status": "unchanged" if found else "added", **_describe(zoo, result), "seconds": phases.seconds}
    if as_json:
        print_json(described)
    else:
        taken = f", {sum(phases.seconds.values()):.1f} s" if phases.seconds else ""
        click.echo(f"{described['status']}: {result} ({len(result.manifest.stages)} stages{taken})")


@backbone.command()
@zoo_option
@json_option
@click.pass_context
def ls(context: click.Context, as_json: bool) -> None:
    """List the backbones of the zoo, newest first, with their stages.

    Example: zoo backbone ls
    """
    with open_zoo(context) as zoo:
        found = [_describe(zoo, each) for each in zoo.backbones()]
    if as_json:
        print_json(found)
        return
    columns = ("backbone", "source", "stages", "parameters", "digest")
    print_table(columns, [_row(each) for each in found])


def _add(zoo: Zoo, phases: Phases, **options: Any) -> Backbone:
    with phases.phase("load torch"):
        from heads.base.backbones import add_backbone
    return add_backbone(zoo, **options, phases=phases)


def _row(described: dict[str, Any]) -> tuple[object, ...]:
    stages = ", ".join(stage["name"] for stage in described["stages"])
    digest = described["digest"][:SHORT_DIGEST_LENGTH]
    return described["backbone"], described["source"], stages, f"{described['parameters']:,}", digest


def _find(zoo: Zoo, key: str | None, forms: Sequence[Format]) -> Backbone | None:
    """Return the backbone that was made from the same things, if the zoo still has every blob of it."""
    found = next((each for each in zoo.backbones() if key and each.manifest.build_key == key), None)
    return found if found and _is_whole(zoo, found, forms) else None


def _is_whole(zoo: Zoo, backbone: Backbone, forms: Sequence[Format]) -> bool:
    stages = [zoo.stage(stage.digest) for stage in backbone.manifest.stages]
    if not set(forms) <= {form for stage in stages for form in stage.artifacts}:
        return False
    exports = {artifact.blob for stage in stages for artifact in stage.artifacts.values()}
    return all(zoo.blobs.has(blob) for blob in (*exports, *needed_blobs(backbone.manifest.preprocessing)))


def _describe(zoo: Zoo, found: Backbone) -> dict[str, Any]:
    stages = [zoo.stage(stage.digest) for stage in found.manifest.stages]
    return {
        "backbone": str(found),
        "name": found.name,
        "number": found.number,
        "digest": found.digest,
        "source": found.manifest.source,
        "stages": [{"name": stage.name, "digest": stage.digest, "parameters": stage.parameters} for stage in stages],
        "forms": sorted({form for stage in stages for form in stage.artifacts}),
        "parameters": sum(stage.parameters for stage in stages),
    }
