"""Why an answer came out as it did: attributions of tokens, and class-activation maps of images. By captum.

Both explain one number of the head's output: the probability of the label that was answered, the value, or the cosine
of a vector with that of its nearest neighbour.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import LayerAttribution, LayerGradCam, LayerIntegratedGradients
from numpy.typing import NDArray
from torch import Tensor, nn

from backbone.stage import Stage
from heads.base.inspect.collect import Judged
from heads.base.inspect.rebuilt import Rebuilt
from zoo.manifest import Answer, ImagePreprocessing, TextPreprocessing

__all__ = ["ImageMap", "TokenScores", "attribute_tokens", "choose", "map_image"]

_STEPS = 64
_ROWS_AT_ONCE = 32
_LEAST_SIDE = 4
"""A map of fewer places a side says nothing of where."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenScores:
    """How much each token of a text moved one number of the output.

    Attributes:
        about: what the number is: a label, "value", or whose cosine.
        score: the number for this text.
        baseline: the number for the same text with every word blanked out.
        tokens: start and end of each token in the text, and how much it moved the number.
        gap: how far the moves miss ``score - baseline``, which they sum up to in theory.
    """

    about: str
    score: float
    baseline: float
    tokens: tuple[tuple[int, int, float], ...]
    gap: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageMap:
    """Where an image speaks for one number of the output.

    Attributes:
        about: what the number is: a label, "value", or whose cosine.
        score: the number.
        pixels: (H, W, 3) float32 from 0 to 1, the image as the model sees it.
        heat: (H, W) float32 from 0 to 1, the strength relative to the strongest place; all 0 if nothing speaks for it.
    """

    about: str
    score: float
    pixels: NDArray[np.float32]
    heat: NDArray[np.float32]


def choose(judged: Sequence[Judged], most: int) -> list[Judged]:
    """Return examples worth explaining: half of them the worst answers, half spread over the rest, from bad to good."""
    ordered = sorted(judged, key=lambda each: (-each.loss, each.example.id))
    worst, rest = ordered[: most // 2], ordered[most // 2 :]
    places = np.linspace(0, len(rest) - 1, min(most - len(worst), len(rest))).round().astype(int)
    return [*worst, *(rest[place] for place in dict.fromkeys(places.tolist()))]


def attribute_tokens(
    path: Rebuilt, answer: Answer, judged: Judged, preprocessing: TextPreprocessing
) -> TokenScores | None:
    """Return integrated gradients (Sundararajan et al. 2017) of a text's token embeddings, summed a token.

    The way leads from the same text with every word replaced by padding, attended to as before, to the text itself.

    Args:
        path: the version in torch.
        answer: how its output is read.
        judged: the example.
        preprocessing: says which id is padding.

    Returns:
        The scores, or None where the answer is about nothing: no span was found.
    """
    chosen = _chosen(answer, judged)
    if chosen is None:
        return None
    about, scalar = chosen
    ids_NT, mask_NT = path.tensors_of(judged.row)
    words_T = torch.tensor([end > start for start, end in judged.row.offsets])
    blank_NT = torch.where(words_T, preprocessing.pad_id, ids_NT)

    def forward(ids: Tensor, mask: Tensor) -> Tensor:
        return scalar(path(ids, mask))

    method = LayerIntegratedGradients(forward, _embeddings(path.stages()[0]))
    moves_NTD, gap = method.attribute(
        ids_NT,
        baselines=blank_NT,
        additional_forward_args=(mask_NT,),
        n_steps=_STEPS,
        internal_batch_size=_ROWS_AT_ONCE,
        return_convergence_delta=True,
    )
    with torch.no_grad():
        score, baseline = (float(forward(ids, mask_NT)) for ids in (ids_NT, blank_NT))
    moves = moves_NTD.sum(dim=2)[0].tolist()
    tokens = tuple((start, end, move) for (start, end), move in zip(judged.row.offsets, moves, strict=True))
    return TokenScores(
        about=about,
        score=score,
        baseline=baseline,
        tokens=tuple(token for token in tokens if token[1] > token[0]),
        gap=abs(float(gap)),
    )


def map_image(path: Rebuilt, answer: Answer, judged: Judged, preprocessing: ImagePreprocessing) -> ImageMap | None:
    """Return the Grad-CAM (Selvaraju et al. 2017) of what the deepest stage gives that still tells places apart.

    A backbone of small images ends with few places, or with one; there, an earlier stage says where. The map is
    enlarged to the image.

    Args:
        path: the version in torch.
        answer: how its output is read.
        judged: the example.
        preprocessing: undone, to show the image as the model sees it.

    Returns:
        The map, or None where the answer is about nothing.
    """
    chosen = _chosen(answer, judged)
    if chosen is None:
        return None
    about, scalar = chosen
    (images_NCHW,) = path.tensors_of(judged.row)
    mapped = _Mapped(path, images_NCHW)

    def forward(images: Tensor) -> Tensor:
        return scalar(mapped(images))

    # The weights want no gradient, so the image has to: Grad-CAM differentiates by a layer in between.
    heat = LayerGradCam(forward, mapped.features).attribute(images_NCHW.requires_grad_(), relu_attributions=True)
    assert isinstance(heat, Tensor)
    size = (preprocessing.height, preprocessing.width)
    heat_HW = LayerAttribution.interpolate(heat.detach(), size, "bilinear")[0, 0].numpy()
    with torch.no_grad():
        score = float(forward(images_NCHW))
    scale, shift = (np.array(values, np.float32)[:, None, None] for values in (preprocessing.std, preprocessing.mean))
    pixels_CHW = np.clip(images_NCHW.detach()[0].numpy() * scale + shift, 0, 1)
    return ImageMap(
        about=about,
        score=score,
        pixels=np.ascontiguousarray(pixels_CHW.transpose(1, 2, 0)),
        heat=np.asarray(heat_HW / max(float(heat_HW.max()), 1e-12), np.float32).clip(0, 1),
    )


class _Mapped(nn.Module):
    """A path that passes what one of its stages gives through ``features`` as a map (N, C, H, W), whatever form it has.

    Args:
        path: the version in torch.
        images_NCHW: an input, to see how many places each stage tells apart.
    """

    def __init__(self, path: Rebuilt, images_NCHW: Tensor) -> None:
        super().__init__()
        self.path = path
        self.features = nn.Identity()
        sides, known = [], images_NCHW
        with torch.no_grad():
            for stage in path.stages():
                (known,) = stage(known)
                sides.append(min(_as_map(known)[0].shape[2:]))
        fine = [place for place, side in enumerate(sides) if side >= _LEAST_SIDE]
        self.place = fine[-1] if fine else sides.index(max(sides))

    def forward(self, images_NCHW: Tensor) -> Tensor:
        known = images_NCHW
        for place, stage in enumerate(self.path.stages()):
            (known,) = stage(known)
            if place == self.place:
                map_NCHW, extra_NED = _as_map(known)
                map_NCHW = self.features(map_NCHW)
                known = (
                    map_NCHW
                    if extra_NED is None
                    else torch.cat((extra_NED, map_NCHW.flatten(2).transpose(1, 2)), dim=1)
                )
        output: Tensor = self.path.head(known)[0]
        return output


def _as_map(known: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return features as a map (N, C, H, W); of tokens (N, T, D), also those that are no places."""
    if known.ndim == 4:
        return known, None
    side = int(known.shape[1] ** 0.5)  # class and register tokens come first, the rest is a square of patches
    extra_NED, patches_NPD = known[:, : -(side**2)], known[:, -(side**2) :]
    return patches_NPD.transpose(1, 2).reshape(len(known), -1, side, side), extra_NED


def _chosen(answer: Answer, judged: Judged) -> tuple[str, Callable[[Tensor], Tensor]] | None:
    """Return what is explained, and how to read it from an output with N rows: (N,)."""
    if answer.kind == "regress":
        return "value", lambda output: output[:, 0]
    if judged.nearest is not None:
        vector_D = torch.from_numpy(judged.nearest.vector)
        return f"cosine with {judged.nearest.id} ({judged.nearest.label})", lambda output: output @ vector_D
    if answer.kind == "tag":
        tags_T = torch.from_numpy(judged.output.argmax(axis=1))
        found_T = tags_T.nonzero().flatten()
        if not len(found_T):
            return None
        label = answer.labels[(int(tags_T[found_T[0]]) - 1) // 2]
        same_T = torch.tensor([place for place in found_T if answer.labels[(int(tags_T[place]) - 1) // 2] == label])
        return label, lambda output: output[:, same_T, tags_T[same_T]].mean(dim=1)
    if answer.kind in ("classify", "multilabel"):
        best = int(judged.output.argmax())
        return answer.labels[best], lambda output: output[:, best]
    return None


def _embeddings(stage: Stage) -> nn.Module:
    part = getattr(stage, "embeddings", None)
    assert isinstance(part, nn.Module), f"{stage.name} embeds nothing"
    return part
