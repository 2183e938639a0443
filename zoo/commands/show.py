"""``zoo show``: one version, and everything that made it."""

from collections.abc import Iterable, Iterator
from dataclasses import asdict

import click

from zoo.console import json_option, moment, open_zoo, print_json, zoo_option
from zoo.digest import SHORT_DIGEST_LENGTH
from zoo.manifest import LOWER_IS_BETTER, Metrics, SliceMetrics, StageManifest, TensorSpec, VersionManifest
from zoo.registry.records import Live, Version
from zoo.zoo import Zoo

__all__ = ["show"]


@click.command()
@click.argument("reference")
@zoo_option
@json_option
@click.pass_context
def show(context: click.Context, reference: str, as_json: bool) -> None:
    """Show the version that REFERENCE means: head, head@number, head@alias or head@digest.

    Example: zoo show intent@prod
    """
    with open_zoo(context) as zoo:
        version = zoo.resolve(reference).version
        manifest = zoo.manifest(version)
        aliases = list(_aliases(zoo.live(), version))
        if as_json:
            document = manifest.model_dump(mode="json", by_alias=True)
            print_json({"version": asdict(version), "aliases": aliases, "manifest": document})
            return
        for line in _describe(zoo, version, manifest, aliases):
            click.echo(line)


def _describe(zoo: Zoo, version: Version, manifest: VersionManifest, aliases: list[str]) -> Iterator[str]:
    yield f"{version}  {version.digest}"
    yield _field("aliases", ", ".join(aliases) or "none")
    yield _field("created", f"{moment(version.created_at)} by {version.created_by}, team {manifest.team}")
    yield _field("answers", _answer(manifest))
    yield _field("takes", _tensors(manifest.signature.inputs))
    yield _field("gives", _tensors(manifest.signature.outputs))
    yield _field("input", _preprocessing(manifest))
    yield "path"
    yield from _path(zoo, manifest)
    yield "metrics on the test split"
    yield from _metrics(manifest)
    yield "gate"
    yield from _gate(manifest)
    yield "parity with the torch model"
    yield from _parity(manifest)
    yield from _variants(manifest)
    yield _field("labels", _labels(manifest))
    yield _field("code", manifest.code[:SHORT_DIGEST_LENGTH])
    parents = ", ".join(parent[:SHORT_DIGEST_LENGTH] for parent in manifest.parents)
    yield _field("built from", parents or "no earlier version")


def _aliases(live: Iterable[Live], version: Version) -> Iterator[str]:
    """Yield the aliases that lead to a version, and those where it is a canary or a shadow."""
    for each in live:
        if each.version == version:
            yield each.alias
        elif each.canary == version:
            yield f"{each.alias} ({each.canary_percent} %)"
        elif version in each.shadows:
            yield f"{each.alias} (shadow)"


def _field(name: str, text: str) -> str:
    return f"{name:<12}{text}"


def _answer(manifest: VersionManifest) -> str:
    answer = manifest.answer
    if answer.kind == "regress":
        return f"regress, a value from {answer.low:g} to {answer.high:g}"
    if answer.kind == "embed":
        return f"embed, a vector of {answer.dim} numbers and length 1"
    return f"{answer.kind}: {', '.join(answer.labels)}"


def _tensors(specs: tuple[TensorSpec, ...]) -> str:
    return "; ".join(f"{spec.name} ({', '.join(map(str, spec.shape))}) {spec.dtype}" for spec in specs)


def _preprocessing(manifest: VersionManifest) -> str:
    spec = manifest.preprocessing
    if spec.kind == "text":
        return f"text of at most {spec.max_tokens} tokens"
    return f"image, {spec.height} × {spec.width}" if spec.kind == "image" else "ready tensors"


def _path(zoo: Zoo, manifest: VersionManifest) -> Iterator[str]:
    for place, ref in enumerate(manifest.stages):
        mark = "shared" if place < manifest.shared_stages else "own"
        yield f"  {mark:<7} {ref.name:<20} {ref.digest[:SHORT_DIGEST_LENGTH]}  {_size(zoo.stage(ref.digest))}"


def _size(stage: StageManifest) -> str:
    forms = ", ".join(f"{form} {artifact.size_bytes / 1e6:.2f} MB" for form, artifact in stage.artifacts.items())
    return f"{stage.parameters:,} parameters; {forms}"


def _metrics(manifest: VersionManifest) -> Iterator[str]:
    yield _metrics_line("all", manifest.metrics.overall)
    for name, slice_metrics in manifest.metrics.slices.items():
        yield _metrics_line(name, slice_metrics)


def _metrics_line(name: str, metrics: SliceMetrics) -> str:
    values = ", ".join(f"{key} {value:.3f}" for key, value in metrics.values.items())
    return f"  {name:<20} {metrics.examples:>5} examples  {values}"


def _gate(manifest: VersionManifest) -> Iterator[str]:
    if not manifest.gate.bounds:
        yield "  none"
    for key, bound in manifest.gate.bounds.items():
        yield f"  {key:<28} {_side(key)} {bound:g}, reached {manifest.gate.reached[key]:.3f}"


def _side(key: str) -> str:
    return "at most" if key.rpartition("/")[2] in LOWER_IS_BETTER else "at least"


def _parity(manifest: VersionManifest) -> Iterator[str]:
    for form, parity in manifest.parity.items():
        yield (
            f"  {form:<12} largest difference {parity.max_abs_diff:.1e} (tolerance {parity.tolerance:.1e}), "
            f"{parity.equal_answers:.1%} equal answers, {parity.rows} rows"
        )


def _variants(manifest: VersionManifest) -> Iterator[str]:
    """Say what each other precision reaches where the gate looks, or over all where there is no gate."""
    for form, metrics in manifest.variants.items():
        yield f"metrics as {form}"
        for key in manifest.gate.bounds or metrics.overall.values:
            was, now = _measured(key, manifest.metrics), _measured(key, metrics)
            yield f"  {key:<28} {now:.3f}, in fp32 {was:.3f}"


def _measured(key: str, metrics: Metrics) -> float:
    where, _, name = key.rpartition("/")
    return (metrics.slices[where] if where else metrics.overall).values.get(name, float("nan"))


def _labels(manifest: VersionManifest) -> str:
    labels = manifest.labels
    splits = ", ".join(f"{count} {split}" for split, count in labels.examples.items())
    commit = f"git commit {labels.commit[:SHORT_DIGEST_LENGTH]}" if labels.commit else "not committed to git"
    return f"{labels.digest[:SHORT_DIGEST_LENGTH]}, {commit}; {splits}"
