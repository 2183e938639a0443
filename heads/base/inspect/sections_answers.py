"""The sections of a report about answers: where they are right, where they are wrong, and how sure they are."""

from collections import defaultdict
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from heads.base.inspect import figures, sections_embed, sections_segment
from heads.base.inspect.collect import Judged, Subject
from heads.base.inspect.examples import example_input, shown_target
from heads.base.inspect.kind_figures import coverage_curve
from heads.base.inspect.page import Html, Section, element, table
from heads.base.inspect.rebuilt import task_of
from heads.base.inspect.sections_about import drawn, note
from heads.base.inspect.sections_tag import span_confusion, wanted_tags
from heads.base.inspect.statistics import (
    bootstrap,
    confusion,
    coverage,
    most_confused,
    reliability,
    shown_interval,
    wilson,
)
from heads.base.tasks.metrics import Counts, count_matches, f1, measure
from heads.base.uncertainty.calibration import BINS, calibration_error
from zoo.labels import Span, Target
from zoo.manifest import ClassifyAnswer, EmbedAnswer, MultilabelAnswer, RegressAnswer, SegmentAnswer, TagAnswer

__all__ = ["calibration", "classes", "mistakes", "slices", "top_losses"]

_MOST_LOSSES = 24
_MOST_CLASSES_DRAWN = 60
_ROWS_RESAMPLED = 200_000


def mistakes(subject: Subject) -> Section:
    """Return which answers are taken for which: a confusion matrix, counts a label, residuals, or neighbours."""
    answer = subject.manifest.answer
    match answer:
        case ClassifyAnswer():
            title, body = "Confusion", _confusion(subject, answer)
        case MultilabelAnswer():
            title, body = "Confusion by label", [_label_confusion(subject, answer)]
        case RegressAnswer():
            title, body = "Predicted and wanted", _values(subject)
        case TagAnswer():
            title, body = "Confusion of pieces", span_confusion(subject)
        case EmbedAnswer():
            title, body = "Nearest neighbours", sections_embed.nearest(subject)
        case SegmentAnswer():
            title, body = "Confusion of pixels", sections_segment.pixel_confusion(subject)
    return Section(id="mistakes", title=title, body=body)


def classes(subject: Subject) -> Section:
    """Return precision, recall and F1 of each label, each with its interval."""
    title = "Labels"
    answer = subject.manifest.answer
    if isinstance(answer, EmbedAnswer):
        return Section(id="classes", title=title, body=sections_embed.found_by_label(subject))
    if isinstance(answer, SegmentAnswer):
        return Section(id="classes", title=title, body=sections_segment.by_label(subject))
    if isinstance(answer, RegressAnswer):
        return Section(id="classes", title=title, body=[note("A value is none of several, so there are no labels.")])
    wanted = [_items(each.example.target) for each in subject.judged]
    found = [_items(each.answer) for each in subject.judged]
    counts = count_matches(wanted, found, _label_of)
    rows = [_class_row(label, counts.get(label, Counts())) for label in answer.labels]
    columns = ("label", "wanted", "answered", "right", "precision", "95 %", "recall", "95 %", "F1")
    read = element(
        "p",
        "Precision is the share of the answers that is right, recall the share of what is wanted that is found; the "
        "intervals are Wilson's, and wide where a label is rare.",
    )
    return Section(id="classes", title=title, body=[read, table(columns, rows, numbers=range(1, 9))])


def slices(subject: Subject) -> Section:
    """Return how good the version is on each named subset, with how sure that is."""
    title = "Slices"
    kind = subject.manifest.answer.kind
    if kind == "embed":
        return Section(id="slices", title=title, body=sections_embed.found_by_slice(subject))
    if kind == "segment":
        return Section(id="slices", title=title, body=sections_segment.by_slice(subject))
    members: dict[str, list[Judged]] = defaultdict(list)
    for each in subject.judged:
        for name in each.example.slices:
            members[name].append(each)
    rows = [_slice_row(subject, "all", subject.judged)]
    rows += [_slice_row(subject, name, members[name]) for name in sorted(members)]
    metric = task_of(subject.manifest.answer).metrics[0]
    shares = () if kind == "regress" else ("exactly right", "95 %")
    read = element(
        "p",
        "Where two intervals overlap widely, the difference between two slices may be chance. "
        + ("The interval of " if kind == "regress" else "Intervals of shares are Wilson's; that of ")
        + f"{metric} is percentiles of a bootstrap over examples, which knows no "
        "mistake but those in the slice: of a few that are all right, it says too much.",
    )
    columns = ("slice", "examples", *shares, metric, "95 %")
    return Section(id="slices", title=title, body=[read, table(columns, rows, numbers=range(1, len(columns)))])


def calibration(subject: Subject) -> Section:
    """Return how far confidence can be believed."""
    title = "Reliability"
    if subject.manifest.answer.kind == "regress":
        return Section(id="reliability", title=title, body=_coverage(subject))
    found = _confidences(subject)
    if found is None:
        text = "Vectors have no probabilities that could be right or wrong; how far a cosine can be believed, the "
        return Section(id="reliability", title=title, body=[note(f"{text}histogram of cosines says.")])
    confidence_N, right_N, unit = found
    bins, error = reliability(confidence_N, right_N, BINS), calibration_error(confidence_N, right_N)
    caption = (
        f"Points below the dashed line are answers surer than they are right, points above it less sure; grey bars "
        f"say how many {unit} there are."
    )
    value = element(
        "p",
        "Expected calibration error: ",
        element("strong", f"{error:.3f}"),
        f" over {len(confidence_N):,} {unit} in {len(bins)} bins; mean confidence {confidence_N.mean():.3f}, "
        f"right {right_N.mean():.3f}.",
    )
    return Section(
        id="reliability", title=title, body=[value, drawn(figures.reliability_diagram(bins), "reliable", caption)]
    )


def top_losses(subject: Subject) -> Section:
    """Return the examples that the version is most wrong about, with what is wanted and what is answered."""
    title = "Top losses"
    kind = subject.manifest.answer.kind
    if kind == "segment":
        return Section(id="losses", title=title, body=sections_segment.worst_masks(subject))
    worst = sorted(subject.judged, key=lambda each: (-each.loss, each.example.id))[:_MOST_LOSSES]
    measured = (
        "The loss is the cosine with the nearest example of another label less that with the nearest of its own: above "
        "0, the wrong one is found first. Answered is the label of the nearest of all. "
        if kind == "embed"
        else ""
    )
    read = element(
        "p",
        f"The worst answers first. {measured}Look here for labels that are wrong, for kinds of input that training "
        "lacks, and for what nobody could answer.",
    )
    rows = [
        (
            f"{each.loss:.3f}",
            example_input(each, subject),
            shown_target(each.example.target, each.example.text),
            _verdict(each),
            ", ".join(each.example.slices),
            element("span", each.example.id, class_="digest"),
        )
        for each in worst
    ]
    columns = ("loss", "input", "wanted", "answered", "slices", "id")
    return Section(id="losses", title=title, body=[read, table(columns, rows, numbers=(0,))])


def _verdict(judged: Judged) -> Html:
    """Return an answer in the colour of right or wrong; a value has none, as it is only more or less off."""
    colour = "" if isinstance(judged.answer, float) else "good" if judged.is_right else "bad"
    return element("span", shown_target(judged.answer, judged.example.text), class_=colour)


def _confusion(subject: Subject, answer: ClassifyAnswer) -> list[Html]:
    wanted = [cast("str", each.example.target) for each in subject.judged]
    counts_CC = confusion(answer.labels, wanted, [cast("str", each.answer) for each in subject.judged])
    body = []
    if len(answer.labels) <= _MOST_CLASSES_DRAWN:
        caption = (
            "A row is a wanted label, a column what was answered: off the diagonal are the mistakes, darker where they "
            "are a larger share of the row."
        )
        body.append(drawn(figures.confusion_matrix(counts_CC, answer.labels), "confusion", caption))
    pairs = most_confused(counts_CC, 10)
    if not pairs:
        return [*body, note("There is no mistake.")]
    rows = [
        (answer.labels[a], answer.labels[b], f"{count}", f"{count / counts_CC[a].sum():.0%}") for a, b, count in pairs
    ]
    columns = ("wanted", "answered", "how often", "of those wanted")
    frequent = element("div", element("h3", "Most frequent mistakes"), table(columns, rows, numbers=(2, 3)))
    return [element("div", *body, frequent, class_="figures")]


def _label_confusion(subject: Subject, answer: MultilabelAnswer) -> Html:
    wanted_NL = _applies(answer.labels, [each.example.target for each in subject.judged])
    found_NL = _applies(answer.labels, [each.answer for each in subject.judged])
    rows = []
    for place, (label, threshold) in enumerate(zip(answer.labels, answer.thresholds, strict=True)):
        wanted_N, found_N = wanted_NL[:, place], found_NL[:, place]
        cells = (wanted_N & found_N, ~wanted_N & found_N, wanted_N & ~found_N, ~wanted_N & ~found_N)
        rows.append((label, f"{threshold:.2f}", *(f"{int(cell.sum())}" for cell in cells)))
    columns = ("label", "threshold", "rightly", "wrongly", "missed", "rightly not")
    return table(columns, rows, numbers=range(1, 6))


def _values(subject: Subject) -> list[Html]:
    wanted_N = np.array([cast("float", each.example.target) for each in subject.judged])
    found_N = np.array([cast("float", each.answer) for each in subject.judged])
    pair = [
        drawn(
            figures.predicted_against_wanted(wanted_N, found_N),
            "values",
            "Each point is an example; on the dashed line the prediction is right, above it too high.",
        ),
        drawn(
            figures.residuals(wanted_N, found_N),
            "residuals",
            "By how much predictions are off: a slope or a curve on the left is something that the head has not "
            "learned; on the right, how often they are off by how much.",
        ),
    ]
    return [element("div", *pair, class_="figures")]


def _coverage(subject: Subject) -> list[Html]:
    """Return how often intervals of each level hold the value, where a head says how unsure it is."""
    deviations = [each.deviation for each in subject.judged if each.deviation is not None]
    if not deviations:
        return [
            note(
                "This head does not say how unsure it is. One that declares uncertainty='laplace' or 'gp' gives each "
                "value a standard deviation, and here is then told how often its intervals hold the value."
            )
        ]
    wanted_N = np.array([cast("float", each.example.target) for each in subject.judged])
    found_N = np.array([cast("float", each.answer) for each in subject.judged])
    found = coverage(wanted_N, found_N, np.array(deviations))
    rows = [
        (
            f"{each.nominal:.0%}",
            f"{each.covered / each.count:.1%}",
            shown_interval(wilson(each.covered, each.count), 3),
            f"{each.width:.2f}",
        )
        for each in found
    ]
    caption = (
        "For each level, the share of examples whose value lies in the Gaussian interval of that level around the "
        "prediction: below the dashed line the head is surer than it should be, above it less sure."
    )
    columns = ("should hold", "holds", "95 %", "mean width")
    told = element("div", element("h3", "Intervals"), table(columns, rows, numbers=range(4)))
    return [element("div", drawn(coverage_curve(found), "coverage", caption), told, class_="figures")]


def _class_row(label: str, counts: Counts) -> tuple[str, ...]:
    answered, wanted = counts.hits + counts.extra, counts.hits + counts.missed
    return (
        label,
        f"{wanted}",
        f"{answered}",
        f"{counts.hits}",
        f"{counts.hits / answered:.2f}" if answered else "–",
        shown_interval(wilson(counts.hits, answered), 2) if answered else "–",
        f"{counts.hits / wanted:.2f}" if wanted else "–",
        shown_interval(wilson(counts.hits, wanted), 2) if wanted else "–",
        f"{f1(counts):.2f}" if wanted or answered else "–",
    )


def _slice_row(subject: Subject, name: str, rows: Sequence[Judged]) -> tuple[str, ...]:
    task = task_of(subject.manifest.answer)
    metric = task.metrics[0]

    def measured(chosen: Sequence[int] | NDArray[np.int64]) -> float:
        picked = [rows[place] for place in chosen]
        values = measure(task, [each.example.target for each in picked], [each.answer for each in picked])
        return values.get(metric, float("nan"))

    resamples = int(np.clip(_ROWS_RESAMPLED // len(rows), 100, 500))
    interval = bootstrap(measured, len(rows), resamples=resamples)
    hits = sum(each.is_right for each in rows)
    share = () if task.kind == "regress" else (f"{hits / len(rows):.3f}", shown_interval(wilson(hits, len(rows)), 3))
    return (name, f"{len(rows)}", *share, f"{measured(range(len(rows))):.3f}", shown_interval(interval, 3))


def _confidences(subject: Subject) -> tuple[NDArray[np.float64], NDArray[np.bool_], str] | None:
    """Return confidences, whether each is right, and of what they are."""
    answer, judged = subject.manifest.answer, subject.judged
    if answer.kind == "classify":
        confidence_N = np.array([each.output.max() for each in judged], np.float64)
        return confidence_N, np.array([each.is_right for each in judged]), "answers"
    if answer.kind == "multilabel":
        scores_NL = np.array([each.output for each in judged], np.float64)
        wanted_NL = _applies(answer.labels, [each.example.target for each in judged])
        return scores_NL.ravel(), wanted_NL.ravel(), "pairs of an example and a label"
    if answer.kind == "tag":
        tags = [wanted_tags(answer.labels, each) for each in judged]
        scores_MK = np.concatenate([each.output for each in judged]).astype(np.float64)
        return scores_MK.max(axis=1), scores_MK.argmax(axis=1) == np.concatenate(tags), "tokens"
    if answer.kind == "segment":
        return *sections_segment.pixel_certainty(subject), "pixels"
    return None


def _applies(labels: Sequence[str], targets: Sequence[Target]) -> NDArray[np.bool_]:
    return np.array([[label in cast("tuple[str, ...]", target) for label in labels] for target in targets])


def _items(target: Target) -> AbstractSet[Any]:
    return frozenset(cast("tuple[Any, ...]", target)) if isinstance(target, tuple) else frozenset([target])


def _label_of(item: Any) -> str:
    return item.label if isinstance(item, Span) else str(item)
