"""What a report is about: a version, the examples of one split, and what the version answers to each of them.

Answers come from the exported stages, as a server gives them, and are decoded as a server decodes them.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from heads.base.building.features import features_of
from heads.base.building.prefix import FrozenPrefix
from heads.base.errors import InvalidHead
from heads.base.inspect.activations import Activations, read_activations
from heads.base.inspect.neighbours import find_neighbours
from heads.base.packages import Package
from heads.base.runs.folder import runs_of
from heads.base.runs.history import History, read_history
from heads.base.tasks.masks import open_masks
from heads.base.tasks.targets import found_target, tag_tokens
from heads.base.threads import one_thread, workers
from zoo import Backbone, Version, Zoo
from zoo.errors import InvalidInput, InvalidLabels
from zoo.export.sessions import OnnxSession
from zoo.labels import Example, Labels, Span, Target
from zoo.manifest import Answer, StageManifest, VersionManifest
from zoo.masks import UNLABELLED, Mask
from zoo.preprocessing import Preprocessor, Row, load_preprocessor

__all__ = ["CONFIDENT", "MOST_ROWS", "Judged", "Nearest", "Subject", "Training", "collect", "labels_of", "row_loss"]

CONFIDENT = 255
"""What stands for a probability of 1 where a mask's are kept: a byte a pixel."""

MOST_ROWS = 2000
_LEAST_PROBABILITY = 1e-12

OnRows = Callable[[int, int], None]
"""Told how many rows are done, and of how many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Nearest:
    """The nearest neighbour of a vector: the example's id and label, and its vector, (D,) float32 of length 1."""

    id: str
    label: str
    vector: NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """One example, and what the version makes of it.

    Attributes:
        example: the input and the wanted answer.
        row: the input, preprocessed.
        answer: what is answered, in the form of a label; of a vector, the label of its nearest neighbour, and its own
            label where no other example has that.
        output: the head's output without the N axis, float32: (C,), (1,), (T, K) or (D,). Of masks, the probability of
            each pixel's answer, (H, W) uint8, where ``CONFIDENT`` is 1.
        inputs: what the head reads, by name and without the N axis.
        loss: how bad the answer is, see ``row_loss``. Of a vector, how much nearer, in cosine, the nearest of another
            label is than the nearest of its own; below 0 if that one is nearer, and -2 if there is none.
        deviation: standard deviation of a value that says how unsure it is; None of any other answer.
        nearest: of a vector, its nearest neighbour; None of any other answer.
    """

    example: Example
    row: Row
    answer: Target
    output: NDArray[Any]
    inputs: Mapping[str, NDArray[Any]]
    loss: float
    deviation: float | None
    nearest: Nearest | None = None

    @property
    def mean_input(self) -> NDArray[np.float32]:
        """The mean of what the head reads over tokens (T, D) or over places (C, H, W): one vector."""
        read = next(iter(self.inputs.values()))
        return np.asarray(read.mean(axis=(1, 2)) if read.ndim == 3 else read.mean(axis=0), np.float32)

    @property
    def is_right(self) -> bool:
        """Whether the answer is exactly the wanted one; labels and spans are compared as sets."""
        wanted, found = self.example.target, self.answer
        return set(found) == set(wanted) if isinstance(found, tuple) and isinstance(wanted, tuple) else found == wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """What a version's training left in its run's folder; empty where there is none."""

    history: History
    activations: Activations | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """Everything that a report tells of.

    Attributes:
        version: which.
        aliases: the aliases that mean it now.
        manifest: what made it.
        stages: manifests of its path, from input to answer.
        backbone: what it builds on.
        prefix: the shared stages, for whoever needs them in torch.
        split: the split that was read, ``valid`` or ``test``.
        of: how many examples the split has; more than ``judged`` where some were drawn.
        judged: examples, and what the version makes of them.
        training: what its training left.
        remarks: what a reader has to know before believing the rest.
        blob: bytes from the zoo, by digest: images of examples.
    """

    version: Version
    aliases: tuple[str, ...]
    manifest: VersionManifest
    stages: tuple[StageManifest, ...]
    backbone: Backbone
    prefix: FrozenPrefix
    split: str
    of: int
    judged: tuple[Judged, ...]
    training: Training
    remarks: tuple[str, ...]
    blob: Callable[[str], bytes]


def collect(
    zoo: Zoo,
    version: Version,
    package: Package,
    *,
    zoo_folder: Path,
    test: Sequence[Example] | None = None,
    on_rows: OnRows = lambda _done, _total: None,
) -> Subject:
    """Gather what a report tells of.

    Args:
        zoo: where the version is.
        version: which.
        package: the head package, for its labels.
        zoo_folder: the zoo's folder, where runs are kept.
        test: the test split, read and logged by whoever wants it; None for the valid split.
        on_rows: told about progress.

    Raises:
        InvalidHead: the labels of the package are of another kind than the version's answers.
        InvalidLabels: preprocessing refuses an input.
    """
    manifest, labels = zoo.manifest(version), labels_of(zoo, version, package)
    examples = labels.for_training().valid if test is None else tuple(test)
    _check_kind(version, manifest.answer, examples, labels)
    stages = tuple(zoo.stage(ref.digest) for ref in manifest.stages)
    backbone = next(each for each in zoo.backbones() if each.digest == manifest.backbone)
    preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
    prefix = FrozenPrefix(
        backbone,
        [zoo.stage(ref.digest) for ref in backbone.manifest.stages],
        manifest.shared_stages,
        preprocessor.declared,
    )
    drawn = _drawn(examples)
    rows = [_row(example, preprocessor, zoo, labels) for example in drawn]
    with one_thread():
        features = features_of(
            rows, prefix=prefix, preprocessor=preprocessor, cache=zoo.features, workers=workers(), on_rows=on_rows
        )
    own = [_Session(zoo, stage) for stage in stages[manifest.shared_stages :]]
    judged = [_judge(manifest.answer, own, *each) for each in zip(drawn, rows, features, strict=True)]
    return Subject(
        version=version,
        aliases=tuple(live.alias for live in zoo.live() if live.version == version),
        manifest=manifest,
        stages=stages,
        backbone=backbone,
        prefix=prefix,
        split="valid" if test is None else "test",
        of=len(examples),
        judged=tuple(_with_neighbours(judged) if manifest.answer.kind == "embed" else judged),
        training=_training(zoo_folder, version.head, manifest.build_key),
        remarks=tuple(_remarks(manifest, labels, len(drawn), len(examples))),
        blob=zoo.blobs.get,
    )


def labels_of(zoo: Zoo, version: Version, package: Package) -> Labels:
    """Return the labels of a package, whose masks are read as the version sees images.

    Raises:
        InvalidHead: the package now declares other labels of pixels than the version answers, so that its masks count
            in another order.
    """
    manifest, declared = zoo.manifest(version), package.head.task
    if manifest.answer.kind == "segment" and manifest.answer.labels != declared.labels:
        raise InvalidHead(
            f"{version} answers masks of {', '.join(manifest.answer.labels)}; {package.head.name!r} now declares "
            f"{', '.join(declared.labels) or declared.kind}. Inspect a newer version, or check out the head of then."
        )
    return open_masks(zoo, package.head, package.labels(), manifest.preprocessing)


def row_loss(answer: Answer, target: Target, output: NDArray[Any], row: Row) -> float:
    """Return how bad an answer is: more is worse.

    A class costs the negative logarithm of its probability, in nats; labels, the mean of that over all labels; tags,
    its mean over tokens; masks, its mean over the pixels that have a label; and a value, its absolute error.

    Args:
        answer: how to read the output; of any kind but embed, whose vectors are good or bad only beside others.
        target: the wanted answer.
        output: probabilities or the value, without the N axis.
        row: the input.
    """
    if answer.kind == "regress":
        return abs(float(output[0]) - cast("float", target))
    if answer.kind == "segment":
        return _mask_loss(cast("Mask", target), output)
    if answer.kind == "classify":
        right = output[[answer.labels.index(cast("str", target))]]
    elif answer.kind == "multilabel":
        wanted = np.array([label in cast("tuple[str, ...]", target) for label in answer.labels])
        right = np.where(wanted, output, 1 - output)
    else:
        assert answer.kind == "tag", answer.kind
        tags = tag_tokens(answer.labels, cast("tuple[Span, ...]", target), row.offsets)
        right = output[np.arange(len(tags)), tags]
    return float(-np.log(np.maximum(right, _LEAST_PROBABILITY)).mean())


class _Session:
    """One of a version's own stages, as it is served."""

    def __init__(self, zoo: Zoo, stage: StageManifest) -> None:
        self.stage = stage
        self._session = OnnxSession(zoo.blobs.get(stage.artifacts["onnx"].blob))

    def __call__(self, known: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Run on the tensors of one row, each with the N axis; return them with the stage's outputs."""
        results = self._session(known)
        return known | dict(zip((spec.name for spec in self.stage.outputs), results, strict=True))


def _judge(
    answer: Answer, own: Sequence[_Session], example: Example, row: Row, features: dict[str, NDArray[Any]]
) -> Judged:
    known = {name: array[None] for name, array in features.items()}
    *tail, head = own
    for stage in tail:
        known = stage(known)
    inputs = {spec.name: known[spec.name][0] for spec in head.stage.inputs}
    known = head(known)
    outputs = {spec.name: known[spec.name][0] for spec in head.stage.outputs}
    output = outputs[answer.output]
    judged = Judged(
        example=example,
        row=row,
        answer=found_target(answer, outputs, row),
        output=output,
        inputs=inputs,
        loss=row_loss(answer, example.target, output, row) if answer.kind != "embed" else 0.0,
        deviation=_deviation(answer, outputs),
    )
    if answer.kind != "segment":
        return judged
    return replace(judged, output=(output.max(axis=0) * CONFIDENT).round().astype(np.uint8))


def _deviation(answer: Answer, outputs: Mapping[str, NDArray[Any]]) -> float | None:
    if answer.kind != "regress" or answer.uncertainty is None:
        return None
    return float(outputs[answer.uncertainty].item())


def _mask_loss(target: Mask, scores_CHW: NDArray[Any]) -> float:
    known_HW = target.array != UNLABELLED
    right_HW = np.take_along_axis(scores_CHW, np.where(known_HW, target.array, 0)[None].astype(np.int64), axis=0)[0]
    right_P = right_HW[known_HW]
    return float(-np.log(np.maximum(right_P, _LEAST_PROBABILITY)).mean()) if len(right_P) else 0.0


def _with_neighbours(judged: Sequence[Judged]) -> list[Judged]:
    """Return vectors with the labels of their nearest neighbours as answers."""
    labels = [cast("str", each.example.target) for each in judged]
    found = find_neighbours(labels, np.stack([each.output for each in judged]))
    nearest = [judged[place] for place in np.where(found.ranks == 1, found.alike, found.unlike).tolist()]
    return [
        replace(
            each,
            answer=labels[found.unlike[place]] if found.ranks[place] > 1 else labels[place],
            nearest=_nearest(nearest[place]),
            loss=float(found.unlike_cosines[place] - found.alike_cosines[place]) if found.asked[place] else -2.0,
        )
        for place, each in enumerate(judged)
    ]


def _nearest(judged: Judged) -> Nearest:
    return Nearest(id=judged.example.id, label=cast("str", judged.example.target), vector=judged.output)


def _drawn(examples: Sequence[Example]) -> list[Example]:
    """Return all examples, or ``MOST_ROWS`` of them drawn at random, in their order."""
    if len(examples) <= MOST_ROWS:
        return list(examples)
    places = np.random.default_rng(0).choice(len(examples), MOST_ROWS, replace=False)
    return [examples[place] for place in sorted(places.tolist())]


def _row(example: Example, preprocessor: Preprocessor, zoo: Zoo, labels: Labels) -> Row:
    try:
        return preprocessor(zoo.blobs.get(example.image) if example.image else example.text)
    except InvalidInput as error:
        raise InvalidLabels(f"{labels.path}: the input of {example.id!r} is refused. {error}") from error


def _check_kind(version: Version, answer: Answer, examples: Sequence[Example], labels: Labels) -> None:
    kinds = {"classify": "label", "multilabel": "labels", "regress": "value", "tag": "spans", "embed": "label"}
    wanted = kinds.get(answer.kind, "mask")
    known = set(getattr(answer, "labels", ()))
    for example in examples:
        names = {example.target} if answer.kind == "classify" else set()
        if example.kind != wanted or names - known:
            raise InvalidHead(
                f"{version} answers {answer.kind} ({', '.join(sorted(known)) or wanted}); {labels.path} has the "
                f"{example.kind} {example.target!r} in {example.id!r}. The labels have changed since it was built: "
                "inspect a newer version, or check out the labels of then."
            )


def _training(zoo_folder: Path, head: str, build_key: str) -> Training:
    """Return what the run of a version left; nothing is made where there is none."""
    for run in runs_of(zoo_folder, head):
        if run.record.key == build_key:
            return Training(history=read_history(run.history), activations=read_activations(run.path))
    return Training(history=History(epochs=(), steps=()), activations=None)


def _remarks(manifest: VersionManifest, labels: Labels, drawn: int, total: int) -> list[str]:
    remarks = []
    if labels.digest != manifest.labels.digest:
        remarks.append(
            "The labels have changed since this version was built: examples here may be ones that it was trained on, "
            "or that nobody had seen then."
        )
    if drawn < total:
        remarks.append(f"Of the {total:,} examples of the split, {drawn:,} drawn at random are shown and counted.")
    return remarks
