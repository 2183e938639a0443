"""The sections of a report that look inside: why answers came out so, how flat the loss is, what lies near what."""

from collections.abc import Sequence
from typing import cast

import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray

from backbone.errors import BackboneError
from heads.base.declaration import Head
from heads.base.errors import HeadsError
from heads.base.inspect import figures
from heads.base.inspect.attribution import ImageMap, TokenScores, attribute_tokens, choose, map_image
from heads.base.inspect.collect import Judged, Subject
from heads.base.inspect.embedding import pca, tsne
from heads.base.inspect.examples import shown_target
from heads.base.inspect.landscape import MOST_ROWS, loss_landscape
from heads.base.inspect.page import Html, Section, element, picture
from heads.base.inspect.rebuilt import Rebuilt, rebuild
from heads.base.inspect.sections_about import drawn, note
from heads.base.training import encode
from zoo.labels import Span
from zoo.manifest import ImagePreprocessing, TextPreprocessing

__all__ = ["explanations", "landscape", "rebuilt_or_why", "surroundings"]

_MOST_EXPLAINED = 10
_MOST_MASKS_MOVED = 24
"""Of masks, each pixel counts; so many images say the shape of the loss."""


def rebuilt_or_why(subject: Subject, declared: Head) -> Rebuilt | str:
    """Return the version in torch, or the sentence that says why it cannot be had."""
    try:
        return rebuild(subject, declared)
    except (HeadsError, BackboneError) as error:
        return str(error)


def explanations(subject: Subject, path: Rebuilt | str) -> Section:
    """Return why some answers came out as they did: tokens that speak for and against, or places of the image."""
    title = "Explanations"
    if isinstance(path, str):
        return Section(id="why", title=title, body=[note(path)])
    answer, preprocessing = subject.manifest.answer, subject.manifest.preprocessing
    chosen = choose(subject.judged, _MOST_EXPLAINED)
    shown: list[Html] = []
    if isinstance(preprocessing, TextPreprocessing):
        scores = [(each, attribute_tokens(path, answer, each, preprocessing)) for each in chosen]
        shown = [_tokens(each, found) for each, found in scores if found]
        intro = _token_key() if shown else None
    elif isinstance(preprocessing, ImagePreprocessing):
        maps = [(each, map_image(path, answer, each, preprocessing)) for each in chosen]
        cells = [_map(each, found) for each, found in maps if found]
        shown = [element("div", *cells, class_="images")] if cells else []
        intro = element(
            "p",
            "Each image as the model sees it, and beside it where it speaks for the answer (Grad-CAM on the deepest "
            "stage that tells places apart): bright is where it looked, relative to the brightest place of the image.",
        )
    if not shown:
        why = (
            "A mask says itself where its labels are; the differences above say where it is wrong."
            if answer.kind == "segment"
            else f"Not for {answer.kind} heads on such inputs."
        )
        return Section(id="why", title=title, body=[note(why)])
    assert intro is not None
    return Section(id="why", title=title, body=[intro, *shown])


def landscape(subject: Subject, path: Rebuilt | str) -> Section:
    """Return the loss around the head's weights."""
    title = "Loss landscape"
    if isinstance(path, str):
        return Section(id="landscape", title=title, body=[note(path)])
    if not any(weight.ndim > 1 for weight in path.head.parameters()):
        return Section(id="landscape", title=title, body=[note("Its last layer is Gaussian, and all it has.")])
    pixels = subject.manifest.answer.kind == "segment"
    judged = _spread(subject.judged, _MOST_MASKS_MOVED if pixels else MOST_ROWS)
    rows = [each.row for each in judged]
    data = encode(path.head, [each.example for each in judged], rows, [each.inputs for each in judged])
    found = loss_landscape(path.head, data.reduced, data.targets)
    caption = (
        f"The loss of the head on {found.rows:,} examples while its weights move along two random directions, each "
        "filter by up to its own length (Li et al. 2018): the star is the published head; a wide dark basin is a head "
        "that small changes do not hurt."
    )
    return Section(id="landscape", title=title, body=[drawn(figures.landscape(found), "landscape", caption)])


def surroundings(subject: Subject) -> Section:
    """Return maps of the examples by what the head reads of them: PCA, and t-SNE where there are not too many."""
    answer = subject.manifest.answer
    embeds = answer.kind == "embed"
    vectors_ND = np.stack([each.output if embeds else each.mean_input for each in subject.judged])
    vectors_ND /= np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    linear_N2, share = pca(vectors_ND)
    what = (
        "their vectors"
        if embeds
        else "what the head reads of them, averaged over tokens or places and brought to one length"
    )
    valued = answer.kind in ("regress", "segment")
    near = {
        "regress": "values that change gradually here are easy even for a linear head",
        "segment": "where bright ones gather, masks of such images are hard for it",
    }.get(answer.kind, "labels that lie apart here are easy even for a linear head")
    odd = "one of quite another colour than those around it" if valued else "a ring within another colour"
    shown = [
        drawn(
            _scatter(subject, linear_N2),
            "pca",
            f"Examples by {what}: the two directions in which they differ most (PCA, {share:.0%} of the variance); "
            f"{near}.",
        )
    ]
    curved_N2 = tsne(vectors_ND)
    if curved_N2 is not None:
        shown.append(
            drawn(
                _scatter(subject, curved_N2),
                "tsne",
                "The same by t-SNE: who is near whom is faithful, distances between clumps mean nothing; "
                f"{odd} may be a wrong label.",
            )
        )
    return Section(id="map", title="Map of the examples", body=[element("div", *shown, class_="figures")])


def _scatter(subject: Subject, places_N2: NDArray[np.float64]) -> str:
    targets = [each.example.target for each in subject.judged]
    if subject.manifest.answer.kind == "regress":
        return figures.scatter_by_value(places_N2, np.array(cast("list[float]", targets)), "wanted value")
    if subject.manifest.answer.kind == "segment":
        return figures.scatter_by_value(places_N2, np.array([each.loss for each in subject.judged]), "loss")
    wrong_N = np.array([not each.is_right for each in subject.judged])
    return figures.scatter_by_label(places_N2, [_name(each) for each in subject.judged], wrong_N)


def _name(judged: Judged) -> str:
    target = judged.example.target
    if isinstance(target, tuple):
        names = {item.label if isinstance(item, Span) else str(item) for item in target}
        return ", ".join(sorted(names)) or "none"
    return shown_target(target)


def _spread(judged: Sequence[Judged], most: int) -> list[Judged]:
    places = np.unique(np.linspace(0, len(judged) - 1, min(most, len(judged))).round().astype(int))
    return [judged[place] for place in places]


def _token_key() -> Html:
    return element(
        "p",
        element("span", "blue", class_="for", style="--strength: .45"),
        " speaks for the answer, ",
        element("span", "orange", class_="against", style="--strength: .45"),
        " against it, by integrated gradients from the same text with every word blanked out. Strong is what moved it "
        "most within its text.",
        class_="key",
    )


def _tokens(judged: Judged, found: TokenScores) -> Html:
    text, strongest = judged.example.text, max((abs(move) for _, _, move in found.tokens), default=0.0)
    pieces: list[str] = []
    at = 0
    for start, end, move in found.tokens:
        if start < at:  # several tokens can stand for one character
            continue
        strength = 0.55 * abs(move) / strongest if strongest else 0.0
        marked = element(
            "span",
            text[start:end],
            class_="for" if move >= 0 else "against",
            style=f"--strength: {strength:.2f}",
            title=f"{move:+.4f}",
        )
        pieces += [text[at:start], marked]
        at = end
    rest = f" The moves miss that difference by {found.gap:.3f}." if found.gap > 0.01 else ""
    told = (
        f"{found.about}: {found.score:.3f}, with every word blanked out {found.baseline:.3f}.{rest} "
        f"Wanted: {shown_target(judged.example.target, text)}."
    )
    return element(
        "div", element("p", *pieces, text[at:], class_="tokens"), element("p", told, class_="soft"), class_="example"
    )


def _map(judged: Judged, found: ImageMap) -> Html:
    pixels = (found.pixels * 255).round().astype(np.uint8)
    colours = (mpl.colormaps["inferno"](found.heat)[..., :3] * 255).astype(np.float32)
    weight = 0.25 + 0.5 * found.heat[..., None]
    overlay = ((1 - weight) * found.pixels * 255 + weight * colours).round().astype(np.uint8)
    pair = element(
        "div",
        picture(pixels, f"image of {judged.example.id}"),
        picture(overlay, f"where it speaks for {found.about}"),
        class_="pair",
    )
    colour = "" if isinstance(judged.answer, float) else "good" if judged.is_right else "bad"
    verdict = element("span", f"{found.about} {found.score:.2f}", class_=colour)
    return element("div", pair, element("p", verdict, f", wanted {shown_target(judged.example.target)}"))
