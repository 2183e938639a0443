"""What a report says of masks: which pixels are taken for which, how labels overlap, and where the worst are wrong."""

from collections.abc import Callable, Sequence
from typing import cast

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from heads.base.inspect import figures
from heads.base.inspect.collect import CONFIDENT, Judged, Subject
from heads.base.inspect.page import Html, element, picture, table
from heads.base.inspect.pixels import label_ious, mean_iou, pixel_confusions
from heads.base.inspect.sections_about import drawn, note
from heads.base.inspect.statistics import bootstrap, most_confused, shown_interval
from zoo.manifest import ImagePreprocessing, SegmentAnswer
from zoo.masks import UNLABELLED, Mask

__all__ = ["by_label", "by_slice", "pixel_certainty", "pixel_confusion", "worst_masks"]

_RESAMPLES = 500
_MOST_SHOWN = 16
_MOST_PIXELS = 4_000_000
_MOST_LABELS_DRAWN = 60
_SMALLEST_SIDE = 96
_UNLABELLED_GREY = (128, 128, 128)
_EXTRA, _MISSED = (221, 117, 48), (63, 134, 201)


def pixel_confusion(subject: Subject) -> list[Html]:
    """Return which pixels are taken for which: a matrix of shares, and the mistakes of most pixels."""
    labels = _labels(subject)
    counts_CC = _confusions(subject).sum(axis=0)
    body = []
    if len(labels) <= _MOST_LABELS_DRAWN:
        caption = (
            "A row is the label that pixels want, a column what they were answered with, as shares of the row, over "
            "all images; pixels without a label count for nothing."
        )
        body.append(drawn(figures.confusion_matrix(counts_CC, labels, as_shares=True), "confusion", caption))
    pairs = most_confused(counts_CC, 10)
    if not pairs:
        return [*body, note("There is no mistake.")]
    rows = [(labels[a], labels[b], f"{count:,}", f"{count / counts_CC[a].sum():.1%}") for a, b, count in pairs]
    columns = ("wanted", "answered", "pixels", "of those wanted")
    frequent = element("div", element("h3", "Most frequent mistakes"), table(columns, rows, numbers=(2, 3)))
    return [element("div", *body, frequent, class_="figures")]


def by_label(subject: Subject) -> list[Html]:
    """Return each label's intersection over union, precision and recall, with the interval of the first."""
    counts_NCC = _confusions(subject)
    total_CC = counts_NCC.sum(axis=0)
    rows = []
    for place, label in enumerate(_labels(subject)):
        hits, wanted, answered = total_CC[place, place], total_CC[place].sum(), total_CC[:, place].sum()
        rows.append(
            (
                label,
                f"{int((counts_NCC[:, place].sum(axis=1) > 0).sum())}",
                f"{wanted:,}",
                f"{answered:,}",
                *_measured(counts_NCC, _iou_of(place)),
                f"{hits / answered:.3f}" if answered else "–",
                f"{hits / wanted:.3f}" if wanted else "–",
                f"{2 * hits / (wanted + answered):.3f}" if wanted + answered else "–",
            )
        )
    columns = ("label", "images", "pixels wanted", "answered", "IoU", "95 %", "precision", "recall", "F1 (dice)")
    read = element(
        "p",
        "IoU is the pixels that are wanted and answered over those that are either, over all images together. "
        "Pixels of one image are not independent, so its interval is percentiles of a bootstrap over images.",
    )
    return [read, table(columns, rows, numbers=range(1, len(columns)))]


def by_slice(subject: Subject) -> list[Html]:
    """Return the mean IoU and the share of right pixels of each slice, with intervals over images."""
    counts_NCC = _confusions(subject)
    members: dict[str, list[int]] = {}
    for place, each in enumerate(subject.judged):
        for name in each.example.slices:
            members.setdefault(name, []).append(place)
    groups = [("all", list(range(len(subject.judged)))), *sorted(members.items())]
    rows = [
        (name, f"{len(places)}", *_measured(counts_NCC[places], mean_iou), *_measured(counts_NCC[places], _accuracy))
        for name, places in groups
    ]
    columns = ("slice", "images", "mean IoU", "95 %", "accuracy", "95 %")
    read = element(
        "p",
        "Where two intervals overlap widely, the difference between two slices may be chance. Both are percentiles of "
        "a bootstrap over images, which knows no mistake but those in the slice: of a few images it says too much.",
    )
    return [read, table(columns, rows, numbers=range(1, len(columns)))]


def pixel_certainty(subject: Subject) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the probability of pixels' answers, and whether each is right; of very many, every so manieth."""
    sure, right = [], []
    for each in subject.judged:
        wanted, found = _masks(each)
        known_HW = wanted.array != UNLABELLED
        sure.append(each.output[known_HW])
        right.append((wanted.array == found.array)[known_HW])
    step = max(1, -(-sum(map(len, sure)) // _MOST_PIXELS))
    return np.concatenate(sure)[::step] / CONFIDENT, np.concatenate(right)[::step]


def worst_masks(subject: Subject) -> list[Html]:
    """Return the images that the version is most wrong about: image, wanted mask, found mask, and their difference."""
    labels = _labels(subject)
    worst = sorted(subject.judged, key=lambda each: (-each.loss, each.example.id))[:_MOST_SHOWN]
    colours_L3 = _colours(len(labels))
    swatches = [
        element("span", label, style=f"background: rgb{tuple(colour)}; color: {_ink(colour)}", class_="swatch")
        for label, colour in zip(labels, colours_L3.tolist(), strict=True)
    ]
    differing = (
        "where the two differ, in the colour of what was answered"
        if len(labels) > 2
        else f"where the two differ: blue is {labels[1]} that was missed, orange is taken for it"
    )
    read = element(
        "p",
        "The worst first, by the mean negative logarithm of the probability of the wanted label over pixels. From left "
        "to right: the image as the model sees it, the mask that is wanted, the one that is answered, and, over the "
        f"image in grey, {differing}. Wrong edges are hard for everybody; look for whole parts, and for masks painted "
        "wrongly.",
    )
    shown = [_example(each, subject, colours_L3) for each in worst]
    return [read, element("p", *swatches, class_="key"), element("div", *shown, class_="masks")]


def _example(judged: Judged, subject: Subject, colours_L3: NDArray[np.uint8]) -> Html:
    wanted, found = _masks(judged)
    pixels_HW3 = _image(judged, subject)
    name = judged.example.id
    row = element(
        "div",
        *(
            picture(_enlarged(pixels), f"{what} of {name}")
            for what, pixels in (
                ("image", pixels_HW3),
                ("wanted mask", _painted(wanted.array, colours_L3)),
                ("found mask", _painted(found.array, colours_L3)),
                ("difference", _difference(pixels_HW3, wanted.array, found.array, colours_L3)),
            )
        ),
        class_="quad",
    )
    counts_CC = pixel_confusions(len(colours_L3), [wanted], [found])[0]
    slices = f"; {', '.join(judged.example.slices)}" if judged.example.slices else ""
    told = f"loss {judged.loss:.3f}, mean IoU {mean_iou(counts_CC):.3f}{slices} "
    return element("div", row, element("p", told, element("span", name, class_="digest")), class_="example")


def _image(judged: Judged, subject: Subject) -> NDArray[np.uint8]:
    """Return the image as the model sees it, (H, W, 3)."""
    spec = subject.manifest.preprocessing
    assert isinstance(spec, ImagePreprocessing), "a segment head reads images"
    pixels_CHW = next(iter(judged.row.tensors.values()))
    pixels_HWC = pixels_CHW.transpose(1, 2, 0) * np.array(spec.std, np.float32) + np.array(spec.mean, np.float32)
    return np.asarray((np.clip(pixels_HWC, 0, 1) * 255).round(), np.uint8)


def _painted(places_HW: NDArray[np.uint8], colours_L3: NDArray[np.uint8]) -> NDArray[np.uint8]:
    painted_HW3 = np.full((*places_HW.shape, 3), _UNLABELLED_GREY, np.uint8)
    known_HW = places_HW != UNLABELLED
    painted_HW3[known_HW] = colours_L3[places_HW[known_HW]]
    return painted_HW3


def _difference(
    pixels_HW3: NDArray[np.uint8],
    wanted_HW: NDArray[np.uint8],
    found_HW: NDArray[np.uint8],
    colours_L3: NDArray[np.uint8],
) -> NDArray[np.uint8]:
    grey_HW1 = pixels_HW3.mean(axis=2, keepdims=True) * 0.45 + 70
    shown_HW3 = np.repeat(grey_HW1, 3, axis=2).astype(np.uint8)
    wrong_HW = (wanted_HW != found_HW) & (wanted_HW != UNLABELLED)
    if len(colours_L3) > 2:
        shown_HW3[wrong_HW] = colours_L3[found_HW[wrong_HW]]
    else:
        shown_HW3[wrong_HW & (found_HW == 1)] = _EXTRA
        shown_HW3[wrong_HW & (found_HW == 0)] = _MISSED
    return shown_HW3


def _colours(count: int) -> NDArray[np.uint8]:
    """Return a colour for each label: dark for the first, often the ground, and the rest apart from each other."""
    rest = (
        [mpl.colors.to_rgb(colour) for colour in figures.COLOURS]
        if count <= len(figures.COLOURS) + 1
        else [mpl.colors.hsv_to_rgb((place / (count - 1), 0.55 + 0.4 * (place % 2), 0.9)) for place in range(count - 1)]
    )
    shares_L3 = np.array([(0.13, 0.16, 0.22), *rest[: count - 1]])
    return np.asarray((shares_L3 * 255).round(), np.uint8)


def _ink(colour: Sequence[int]) -> str:
    red, green, blue = colour
    return "#ffffff" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#10243f"


def _enlarged(pixels_HWC: NDArray[np.uint8]) -> NDArray[np.uint8]:
    times = max(1, -(-_SMALLEST_SIDE // min(pixels_HWC.shape[:2])))
    return pixels_HWC.repeat(times, axis=0).repeat(times, axis=1)


def _measured(counts_NCC: NDArray[np.int64], measure: Callable[[NDArray[np.int64]], float]) -> tuple[str, str]:
    value = measure(counts_NCC.sum(axis=0))
    interval = bootstrap(lambda chosen: measure(counts_NCC[chosen].sum(axis=0)), len(counts_NCC), resamples=_RESAMPLES)
    return ("–", "–") if np.isnan(value) else (f"{value:.3f}", shown_interval(interval, 3))


def _iou_of(place: int) -> Callable[[NDArray[np.int64]], float]:
    return lambda counts_CC: float(label_ious(counts_CC)[place])


def _accuracy(counts_CC: NDArray[np.int64]) -> float:
    total = int(counts_CC.sum())
    return float(np.trace(counts_CC)) / total if total else float("nan")


def _confusions(subject: Subject) -> NDArray[np.int64]:
    wanted, found = zip(*map(_masks, subject.judged), strict=True)
    return pixel_confusions(len(_labels(subject)), wanted, found)


def _masks(judged: Judged) -> tuple[Mask, Mask]:
    return cast("Mask", judged.example.target), cast("Mask", judged.answer)


def _labels(subject: Subject) -> tuple[str, ...]:
    return cast("SegmentAnswer", subject.manifest.answer).labels
