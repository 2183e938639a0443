"""The first sections of a report: what the version is, and how its training went."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heads.base.inspect import figures
from heads.base.inspect.activation_figures import colourful
from heads.base.inspect.activations import Activations
from heads.base.inspect.collect import Subject
from heads.base.inspect.page import Html, Section, element, svg, table
from heads.base.runs.history import History
from zoo.console import moment
from zoo.manifest import LOWER_IS_BETTER, VersionManifest

__all__ = ["about", "activations", "drawn", "gradients", "learning", "note", "reads"]

_MOST_METRICS = 6


def about(subject: Subject) -> Section:
    """Return what the version is and what made it."""
    manifest = subject.manifest
    body = [element("p", text, class_="remark") for text in subject.remarks]
    body.append(_facts(_identity(subject)))
    body += [element("h3", "Path, from input to answer"), _path(subject)]
    body += [element("h3", "Gate, on the test split when it was built"), _gate(manifest)]
    pairs = [element("div", element("dt", key), element("dd", f"{value}")) for key, value in manifest.recipe.items()]
    body += [element("h3", "Recipe"), element("dl", *pairs, class_="recipe")]
    body += [element("h3", "Parity with the torch model"), _parity(manifest)]
    return Section(id="about", title="What it is", body=body)


def learning(history: History, *, averaged: bool = False) -> Section:
    """Return losses, metrics and learning rates over the training.

    Args:
        history: of the version's run.
        averaged: whether the weights of several epochs were averaged (``swa``), so that none of them was published.
    """
    if not history.epochs:
        body = note(
            "There is no history of this version's training: its run's folder is not in this zoo's folder, or was "
            "removed since."
        )
        return Section(id="learning", title="Learning curves", body=[body])
    epochs = [epoch["epoch"] for epoch in history.epochs]
    best = None if averaged else history.best()
    published = (
        "the average over the last epochs was published, whichever was best."
        if averaged
        else "the weights of the marked epoch are the ones published."
    )
    mark: dict[str, Any] = {"mark": best["epoch"], "mark_label": f"best: epoch {best['epoch']}"} if best else {}
    losses = {"training": _series(history.epochs, "train_loss"), "valid": _series(history.epochs, "valid_loss")}
    shown = [
        drawn(
            figures.curves(epochs, losses, x_label="epoch", y_label="loss", **mark),
            "loss",
            "Lower is better; where the valid curve rises while the training curve falls, the head learns by heart.",
        ),
        drawn(
            figures.curves(epochs, _metrics(history.epochs), x_label="epoch", y_label="on the valid split", **mark),
            "metrics",
            f"What each epoch reached on the valid split; {published}",
        ),
    ]
    rates = _by_layer(history.steps, "learning_rates")
    if rates:
        steps = [step["step"] for step in history.steps]
        shown.append(
            drawn(
                figures.curves(steps, rates, x_label="step", y_label="learning rate"),
                "rates",
                "The learning rate of each layer: flat at 0 is a layer that was not let go.",
            )
        )
    return Section(id="learning", title="Learning curves", body=[_figures(shown)])


def activations(found: Activations | None) -> Section:
    """Return each layer's activations over time, and the share of those near zero."""
    title = "Activations"
    if found is None or not found.layers:
        text = "Nobody watched the activations of this training: its run's folder holds no activations.safetensors."
        return Section(id="activations", title=title, body=[note(text)])
    steps = [int(step) for step in found.steps]
    shares = {name: (100 * found.near_zero[place]).tolist() for place, name in enumerate(found.layers)}
    dead = drawn(
        figures.curves(steps, shares, x_label="step", y_label="% near zero", at_least=10),
        "near-zero",
        "Share of activations below a hundredth of their layer's root mean square: a curve that climbs to stay is a "
        "layer that dies.",
    )
    layers = [
        drawn(colourful(name, found.steps, found.counts[place]), f"layer-{place}", "")
        for place, name in enumerate(found.layers)
    ]
    read = element(
        "p",
        "Each picture is a layer: time runs to the right, values upward on a logarithmic scale with zero in the "
        "middle, and bright is where most of them are. Healthy is a band that widens calmly; stripes that break off, "
        "or all of it gathering at zero, are learning rates too high or layers that died.",
    )
    return Section(id="activations", title=title, body=[dead, read, _figures(layers, small=True)])


def gradients(found: Activations | None, history: History) -> Section:
    """Return the norms of the gradients, from the observer or from the history."""
    title = "Gradients"
    lines: dict[str, list[float]] = {}
    steps: list[int] = []
    if found is not None and found.gradient_layers:
        steps = [int(step) for step in found.steps]
        lines = {name: found.gradient_norms[place].tolist() for place, name in enumerate(found.gradient_layers)}
    elif history.steps:
        steps = [step["step"] for step in history.steps]
        lines = _by_layer(history.steps, "grad_norms")
    if not lines:
        return Section(id="gradients", title=title, body=[note("Nothing of this training's gradients was kept.")])
    body = drawn(
        figures.curves(steps, lines, x_label="step", y_label="norm of the gradient", log=True),
        "gradient",
        "The length of each layer's gradient before clipping: spikes are batches that pull hard, and a line far "
        "below the others is a layer that hardly learns.",
    )
    return Section(id="gradients", title=title, body=[body])


def reads(split: str, shown: int, of: int) -> str:
    """Return what a report was made from, and what that says about its numbers.

    Args:
        split: the split.
        shown: how many of its examples are in the report.
        of: how many it has.
    """
    told = f"reads {shown:,} of {of:,} examples of the {split} split; answers come from the exports that are served"
    if split == "test":
        return told
    return (
        f"{told}. This split chose the epoch, and thresholds and temperature where there are any, so numbers flatter "
        "a little; --test reads the split that chose nothing, which is logged"
    )


def note(text: str) -> Html:
    """Return a sentence that says why something is not there."""
    return element("p", text, class_="soft")


def drawn(drawing: str, prefix: str, caption: str) -> Html:
    """Return a drawing with the sentence that says how to read it.

    Args:
        drawing: an SVG document.
        prefix: one of a kind in the page.
        caption: the sentence; empty where one sentence serves many drawings.
    """
    about_it = [element("figcaption", caption)] if caption else []
    return element("figure", svg(drawing, prefix), *about_it)


def _figures(shown: Sequence[Html], *, small: bool = False) -> Html:
    return element("div", *shown, class_="figures small" if small else "figures")


def _series(records: Sequence[Mapping[str, Any]], key: str) -> list[float]:
    return [math.nan if record[key] is None else float(record[key]) for record in records]


def _metrics(epochs: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    names = [name for name in epochs[-1]["metrics"] if not name.startswith("f1.")][:_MOST_METRICS]
    return {name: _series([{name: None, **epoch["metrics"]} for epoch in epochs], name) for name in names}


def _by_layer(steps: Sequence[Mapping[str, Any]], key: str) -> dict[str, list[float]]:
    names = dict.fromkeys(name for step in steps for name in step[key])
    return {name: _series([{name: None, **step[key]} for step in steps], name) for name in names}


def _facts(facts: Iterator[tuple[str, str]]) -> Html:
    rows = [element("tr", element("th", name, scope="row"), element("td", value)) for name, value in facts]
    return element("div", element("table", element("tbody", *rows), class_="facts"), class_="scroll")


def _identity(subject: Subject) -> Iterator[tuple[str, str]]:
    manifest, version = subject.manifest, subject.version
    labels = manifest.labels
    yield "version", str(version)
    yield "digest", version.digest
    yield "aliases", ", ".join(subject.aliases) or "none"
    yield "built", f"{moment(manifest.created_at)} by {manifest.created_by}, team {manifest.team}"
    yield "answers", _answer(manifest)
    yield "backbone", f"{subject.backbone}, from {subject.backbone.manifest.source}"
    yield "labels", f"{labels.digest}; " + ", ".join(f"{count:,} {split}" for split, count in labels.examples.items())
    yield "labels commit", labels.commit or "not committed to git"
    yield "code", manifest.code
    yield "build key", manifest.build_key
    yield "built from", ", ".join(manifest.parents) or "no earlier version"
    yield "libraries", ", ".join(f"{name} {version}" for name, version in sorted(manifest.environment.items()))
    yield "this report", reads(subject.split, len(subject.judged), subject.of)


def _answer(manifest: VersionManifest) -> str:
    answer = manifest.answer
    if answer.kind == "regress":
        return f"regress: a value from {answer.low:g} to {answer.high:g}"
    if answer.kind == "embed":
        return f"embed: a vector of {answer.dim} numbers"
    return f"{answer.kind}: {', '.join(answer.labels)}"


def _path(subject: Subject) -> Html:
    rows = [
        (
            stage.name,
            "shared" if place < subject.manifest.shared_stages else "own",
            f"{stage.parameters:,}",
            f"{stage.artifacts['onnx'].size_bytes / 1e6:.2f}",
            element("span", stage.digest[:16], class_="digest"),
        )
        for place, stage in enumerate(subject.stages)
    ]
    own = subject.stages[subject.manifest.shared_stages :]
    size = sum(stage.artifacts["onnx"].size_bytes for stage in own) / 1e6
    total = ("own, in all", "", f"{sum(stage.parameters for stage in own):,}", f"{size:.2f}", "")
    return table(("stage", "", "parameters", "ONNX, MB", "digest"), [*rows, total], numbers=(2, 3))


def _gate(manifest: VersionManifest) -> Html:
    if not manifest.gate.bounds:
        return note("None is declared.")
    rows = []
    for key, bound in manifest.gate.bounds.items():
        side = "at most" if key.rpartition("/")[2] in LOWER_IS_BETTER else "at least"
        rows.append((key, f"{side} {bound:g}", f"{manifest.gate.reached[key]:.3f}"))
    return table(("metric", "bound", "reached"), rows, numbers=(1, 2))


def _parity(manifest: VersionManifest) -> Html:
    rows = [
        (form, f"{parity.max_abs_diff:.1e}", f"{parity.tolerance:.1e}", f"{parity.equal_answers:.1%}", f"{parity.rows}")
        for form, parity in manifest.parity.items()
    ]
    columns = ("form", "largest difference", "tolerance", "equal answers", "rows")
    return table(columns, rows, numbers=(1, 2, 3, 4))
