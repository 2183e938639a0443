"""Labels of parts that are probably wrong: pieces of texts by their tokens, and masks by the cells of their images.

As in ``suspicious``, each example of the train and valid splits is judged by a linear head on frozen features that was
fitted without it, and the test split is left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from heads.base.declaration import Segment, Tag
from heads.base.testing.findings import Finding
from heads.base.testing.suspicious import confident_errors, each_fold, out_of_sample, standardised, suspicious
from heads.base.testing.vectors import Parts
from zoo.labels import Example, Span
from zoo.masks import UNLABELLED, Mask

__all__ = ["agreement", "cell_shares", "suspicious_parts"]

_TOKEN_LOSS_WEIGHT = 30.0
_FAR = 3.0
"""A mask is far off from so many robust standard deviations on; of normal agreements, 1 of 700 is."""
_LEAST_DROP = 0.3
"""On Fisher's scale, how far below the median a mask agrees at least: where all others are alike, little is far."""
_TINY = 1e-6
"""How much the intercept is held back, next to the weights: so that there is one where no pixel has a label."""
_MOST_AGREEMENT = 0.999
"""Fisher's transform has no end; beyond this, more is not told from less."""


def suspicious_parts(task: Tag | Segment, parts: Parts, *, seed: int = 0) -> list[Finding]:
    """Return the pieces, or the masks, that are probably wrong, the least likely first.

    Args:
        task: of the head.
        parts: train and valid examples with the features of their parts; masks are opened.
        seed: of the folds.
    """
    return _wrong_pieces(task, parts, seed) if isinstance(task, Tag) else _wrong_masks(task, parts, seed)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Neighbouring words of one example that look like one other label than they have."""

    row: int
    start: int
    end: int
    given: int
    likelier: int
    quality: float


def _wrong_pieces(task: Tag, parts: Parts, seed: int) -> list[Finding]:
    """Find words off the diagonal of the confident joint, and join neighbours to pieces.

    Label errors of tokens are those of classification with the tokens as examples, and a piece is as bad as its worst
    (Wang & Mueller 2022). The tokens of a word count together, by their mean, as people label words. The classes are
    the labels and none; where a piece begins is not judged.
    """
    words = [(row, *word) for row in range(len(parts.examples)) for word in _words(parts, row)]
    tokens = [(place, token) for place, (_, _, _, inside) in enumerate(words) for token in inside]
    given_W = np.array([_given(task.labels, parts.examples[row], start, end) for row, start, end, _ in words])
    if len(np.unique(given_W)) < 2:
        return []
    places_M, rows_W = np.array([place for place, _ in tokens]), np.array([row for row, *_ in words])
    vectors_MD = standardised(np.stack([parts.vectors[rows_W[place]][token] for place, token in tokens]))
    scores_MC = out_of_sample(
        vectors_MD, given_W[places_M], seed=seed, loss_weight=_TOKEN_LOSS_WEIGHT, groups_N=rows_W[places_M]
    )
    sums_WC = np.zeros((len(words), scores_MC.shape[1]))
    np.add.at(sums_WC, places_M, scores_MC)
    pieces = _joined(words, given_W, sums_WC / np.bincount(places_M)[:, None])
    names = ("none", *task.labels)
    return [
        suspicious(
            parts.examples[piece.row],
            f"has {parts.examples[piece.row].text[piece.start : piece.end]!r} ({piece.start} to {piece.end}) labelled "
            f"{names[piece.given]!r} (probability {piece.quality:.2f}), which looks like {names[piece.likelier]!r}",
        )
        for piece in sorted(pieces, key=lambda piece: (piece.quality, piece.row, piece.start))
    ]


def _words(parts: Parts, row: int) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    """Yield the words of a text that hold a letter or a digit: start, end, and their tokens."""
    text = parts.examples[row].text
    start, end = 0, 0
    inside: list[int] = []
    for token, (first, last) in enumerate((*parts.offsets[row], (len(text) + 1, len(text) + 2))):
        if first == last:
            continue
        if inside and not (first == end and text[first - 1 : first + 1].isalnum()):
            if any(sign.isalnum() for sign in text[start:end]):
                yield start, end, tuple(inside)
            inside = []
        if not inside:
            start = first
        end = last
        inside.append(token)


def _joined(
    words: Sequence[tuple[int, int, int, tuple[int, ...]]],
    given_W: NDArray[np.int64],
    scores_WC: NDArray[np.float64],
) -> Iterator[_Piece]:
    """Yield the suspicious words, neighbours that have and look like the same joined."""
    last: tuple[int, _Piece] | None = None
    for at, likelier in sorted(confident_errors(scores_WC, given_W)):
        row, start, end, _ = words[at]
        given, quality = int(given_W[at]), float(scores_WC[at, given_W[at]])
        if last and last[0] == at - 1 and (last[1].row, last[1].given, last[1].likelier) == (row, given, likelier):
            piece = _Piece(row, last[1].start, end, given, likelier, min(quality, last[1].quality))
        else:
            if last:
                yield last[1]
            piece = _Piece(row, start, end, given, likelier, quality)
        last = at, piece
    if last:
        yield last[1]


def _given(labels: Sequence[str], example: Example, start: int, end: int) -> int:
    """Return 1 + the place of the label that a word has, 0 for none."""
    spans = cast("tuple[Span, ...]", example.target)
    touched = [span for span in spans if start < span.end and end > span.start]
    return 1 + labels.index(touched[0].label) if touched else 0


def _wrong_masks(task: Segment, parts: Parts, seed: int) -> list[Finding]:
    """Find masks that agree with what their cells look like far less than those of the other examples do.

    A ridge regression that never saw an image gives the share of each label in each of its cells. How far they agree
    with the shares that the mask has is their correlation over the cells, a label at a time and less what is usual at
    each place. Far is a modified z-score
    (Iglewicz & Hoaglin 1993) of its inverse hyperbolic tangent, which is about normal (Fisher 1915). A label that is
    nowhere in a mask is missing if some cell looks as much like it as the best of those do, in the mean, that have it:
    the confident joint (Northcutt et al. 2021) of images and the labels that are in them.
    """
    shares = [
        cell_shares(cast("Mask", each.target), len(task.labels), vectors.shape[:2])
        for each, vectors in zip(parts.examples, parts.vectors, strict=True)
    ]
    found = _regressed(parts.vectors, shares, seed)
    missing: dict[int, tuple[float, str]] = {}
    elsewhere: dict[int, tuple[float, str]] = {}
    for place, label in enumerate(task.labels):
        given = [share[..., place] for share in shares]
        likely = [each[..., place] for each in found]
        for said, said_of in ((elsewhere, _disagreeing), (missing, _missing)):
            for row, score, text in said_of(given, likely, label):
                said[row] = max(said.get(row, (0.0, "")), (score, text))
    ordered = sorted((elsewhere | missing).items(), key=lambda each: (-each[1][0], each[0]))
    return [suspicious(parts.examples[row], text) for row, (_, text) in ordered]


def _disagreeing(
    given: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]], label: str
) -> Iterator[tuple[int, float, str]]:
    """Yield the masks where a label lies elsewhere than it seems to: which, how far in deviations, and in words."""
    # Less what is usual at each place: that a label lies in the middle, as in most images, is no agreement.
    given_NHW, found_NHW = np.stack(given), np.stack(found)
    usual_HW = np.nan_to_num(given_NHW).sum(axis=0) / np.maximum((~np.isnan(given_NHW)).sum(axis=0), 1)
    pairs = zip(given_NHW - usual_HW, found_NHW - found_NHW.mean(axis=0), strict=True)
    agreement_N = np.array([agreement(*pair) for pair in pairs])
    agreement_N[[not np.nansum(each) > 0 for each in given]] = np.nan  # see _missing
    known = np.flatnonzero(~np.isnan(agreement_N))
    if not len(known):
        return
    normal_N = np.arctanh(np.clip(agreement_N, -_MOST_AGREEMENT, _MOST_AGREEMENT))
    median = float(np.median(normal_N[known]))
    spread = 1.4826 * float(np.median(np.abs(normal_N[known] - median)))  # of normal values, the standard deviation
    for row in known.tolist():
        below = median - float(normal_N[row])
        if below > max(_FAR * spread, _LEAST_DROP):
            text = (
                f"has a mask whose {label!r} agrees by {agreement_N[row]:.2f} with where the image looks like it; "
                f"those of the others do by {np.tanh(median):.2f} (correlation over cells, median)"
            )
            yield row, below / max(spread, _LEAST_DROP / _FAR), text


def _missing(
    given: Sequence[NDArray[np.float64]], found: Sequence[NDArray[np.float64]], label: str
) -> Iterator[tuple[int, float, str]]:
    """Yield the masks without a label that the image has: which, how sure in deviations, and in words."""
    best_N = np.array([float(each.max()) for each in found])
    has_N = np.array([bool(np.nansum(each) > 0) for each in given])
    if not has_N.any():
        return
    usual = float(best_N[has_N].mean())
    for row in np.flatnonzero(~has_N & (best_N >= usual)).tolist():
        text = (
            f"has a mask without {label!r}, and looks like it somewhere by {best_N[row]:.2f}; those that have it do by "
            f"{usual:.2f}"
        )
        yield row, _FAR + float(best_N[row] - usual), text


def agreement(given_HW: NDArray[np.float64], found_HW: NDArray[np.float64]) -> float:
    """Return the correlation of two shares over the cells that count; NaN if either is the same everywhere.

    Args:
        given_HW: share of a label in each cell of a mask; NaN in cells that do not count.
        found_HW: share that was found.

    >>> agreement(np.array([[1.0, 0.0, np.nan]]), np.array([[0.9, 0.2, 0.5]]))
    1.0
    """
    known_HW = ~np.isnan(given_HW)
    if not known_HW.any():
        return float("nan")
    given_P, found_P = (values_HW[known_HW] - values_HW[known_HW].mean() for values_HW in (given_HW, found_HW))
    scale = float(np.sqrt((given_P**2).sum() * (found_P**2).sum()))
    return round(float((given_P * found_P).sum()) / scale, 12) if scale else float("nan")


def cell_shares(mask: Mask, labels: int, grid: Sequence[int]) -> NDArray[np.float64]:
    """Return (H, W, L): the share of each label in each cell of a grid over a mask; NaN in cells without labels.

    Args:
        mask: of an image; pixels without a label are left out.
        labels: how many there are, L.
        grid: height and width in cells, H and W.

    >>> cell_shares(Mask(height=2, width=4, pixels=bytes([0, 0, 1, 1, 0, 1, 255, 1])), 2, (1, 2)).tolist()
    [[[0.75, 0.25], [0.0, 1.0]]]
    """
    height, width = grid
    rows_H = np.arange(mask.height) * height // mask.height
    columns_W = np.arange(mask.width) * width // mask.width
    cells_HW = rows_H[:, None] * width + columns_W
    known_HW = mask.array != UNLABELLED
    pairs_P = cells_HW[known_HW] * labels + mask.array[known_HW]
    counts = np.bincount(pairs_P, minlength=height * width * labels).reshape(height, width, labels)
    total = counts.sum(axis=2, keepdims=True)
    return np.where(total > 0, counts / np.maximum(total, 1), np.nan)


def _regressed(
    vectors: Sequence[NDArray[np.float32]], shares: Sequence[NDArray[np.float64]], seed: int
) -> list[NDArray[np.float64]]:
    """Return shares of labels a cell, each image's by a ridge regression on the cells of the others."""
    means_D, spreads_D = _moments(vectors)
    penalty_DD = len(means_D) * np.diag([*np.ones(len(means_D)), _TINY])
    found: list[NDArray[np.float64]] = [np.full(share.shape, 1 / share.shape[2]) for share in shares]

    def fit(shown: NDArray[np.int64], hidden: NDArray[np.int64]) -> None:
        gram_DD, right_DL = penalty_DD, np.zeros((len(penalty_DD), shares[0].shape[2]))
        for row in shown:  # one at a time: the features of all at once may not fit
            known_HW = ~np.isnan(shares[row]).any(axis=2)
            cells_PD = _with_one(vectors[row], means_D, spreads_D)[known_HW]
            gram_DD, right_DL = gram_DD + cells_PD.T @ cells_PD, right_DL + cells_PD.T @ shares[row][known_HW]
        weights_DL = np.linalg.solve(gram_DD, right_DL)
        for row in hidden:
            shares_HWL = _with_one(vectors[row], means_D, spreads_D) @ weights_DL
            shares_HWL = np.clip(shares_HWL, 1e-6, None)
            found[row] = shares_HWL / shares_HWL.sum(axis=2, keepdims=True)

    each_fold(len(vectors), seed, fit)
    return found


def _moments(vectors: Sequence[NDArray[np.float32]]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    means_D = np.mean([each.mean(axis=(0, 1), dtype=np.float64) for each in vectors], axis=0)
    squares_D = np.mean([np.square(each - means_D).mean(axis=(0, 1)) for each in vectors], axis=0)
    return means_D, np.where(squares_D > 0, np.sqrt(squares_D), 1.0)


def _with_one(
    vectors_HWD: NDArray[np.float32], means_D: NDArray[np.float64], spreads_D: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return standardised features, with a 1 at the end of each for the intercept."""
    scaled_HWD = (vectors_HWD - means_D) / spreads_D
    return np.concatenate((scaled_HWD, np.ones((*scaled_HWD.shape[:2], 1))), axis=2)
