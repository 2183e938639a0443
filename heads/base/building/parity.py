"""Proof that the exported path of a head answers like the torch model, on its test inputs and on edge inputs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from backbone.stage import Stage
from heads.base.building.edges import edge_rows
from heads.base.tasks.targets import Comparable, found_target
from heads.base.threads import one_thread
from zoo import Zoo
from zoo.export import ExportedStage, ParityBench, check_parity, cycle_batches, measure_parity
from zoo.export.parity import RunnableFormat
from zoo.labels import Target
from zoo.manifest import Answer, Format, Parity, VariantFormat
from zoo.preprocessing import Preprocessor, Row, collate

__all__ = ["Proof", "exported_from", "prove_parity"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """How close each form of a path is to the torch model, and what the variants answer.

    Attributes:
        parity: by form.
        answers: by variant, the answer to each test input, as a target; none where it gave no numbers.
    """

    parity: dict[Format, Parity]
    answers: dict[VariantFormat, list[Target]]


def exported_from(zoo: Zoo, digest: str) -> ExportedStage:
    """Return a stage as the zoo has it, with the bytes of every format that a path of stages can be run in."""
    manifest = zoo.stage(digest)
    forms: list[Format] = [*get_args(RunnableFormat), *get_args(VariantFormat)]
    blobs = [manifest.artifacts[form].blob for form in forms if form in manifest.artifacts]
    return ExportedStage(manifest=manifest, blobs={blob: zoo.blobs.get(blob) for blob in blobs})


def prove_parity(
    stages: Sequence[Stage],
    exported: Sequence[ExportedStage],
    rows: Sequence[Row],
    preprocessor: Preprocessor,
    answer: Answer,
    *,
    tolerance: float,
    variants: Mapping[VariantFormat, float] | None = None,
    bench: ParityBench | None = None,
) -> Proof:
    """Run whole paths, in torch and in every exported format, and compare outputs and typed answers.

    Args:
        stages: the torch modules, from input to answer, on the CPU.
        exported: the same stages, as they are served.
        rows: the head's own test inputs; edge inputs are added to them.
        preprocessor: of the path.
        answer: how outputs become an answer.
        tolerance: largest difference that may be published.
        variants: other precisions to measure, each with the tolerance to record; none of them is refused here.
        bench: where loaded stages are kept; give the same one for heads that share stages.

    Raises:
        ParityMissed: an export in float32 is too far from the torch model.
    """
    # Edge inputs first, ragged as they come: the longest of all then shares a small batch. The others share theirs with
    # rows of about their length, ragged too, and a third of the tokens to compute.
    order = sorted(range(len(rows)), key=lambda index: rows[index].length)
    edges = edge_rows(preprocessor)
    batches = _Batches([*edges, *(rows[index] for index in order)], preprocessor, answer)
    with one_thread():
        measured = measure_parity(
            stages,
            exported,
            batches,
            batches.answers,
            tolerance=tolerance,
            variants=variants,
            on_variant=batches.keep,
            bench=bench,
        )
    check_parity({form: parity for form, parity in measured.items() if form not in (variants or {})})
    places = {index: len(edges) + place for place, index in enumerate(order)}
    answers = {
        form: [found[places[index]] for index in range(len(rows))]
        for form, found in batches.kept.items()
        if np.isfinite(measured[form].max_abs_diff)
    }
    return Proof(parity=measured, answers=answers)


class _Batches:
    """Ragged batches, and the answers to the one that was handed out last: an answer needs the text of its row."""

    def __init__(self, rows: Sequence[Row], preprocessor: Preprocessor, answer: Answer) -> None:
        self._rows = rows
        self._preprocessor = preprocessor
        self._answer = answer
        self._current: Sequence[int] = ()
        self.kept: dict[VariantFormat, dict[int, Target]] = {}
        """By variant and place in the rows."""

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for batch in cycle_batches(range(len(self._rows))):
            self._current = batch
            yield collate([self._rows[place] for place in batch], self._preprocessor)

    def answers(self, tensors: Mapping[str, NDArray[Any]]) -> list[object]:
        """Return one comparable answer for each row of the current batch."""
        return [Comparable(target) for target in self._targets(tensors)]

    def keep(self, form: VariantFormat, tensors: Mapping[str, NDArray[Any]]) -> None:
        """Keep a variant's answers to the current batch."""
        if np.isfinite(tensors[self._answer.output]).all():
            self.kept.setdefault(form, {}).update(zip(self._current, self._targets(tensors), strict=True))

    def _targets(self, tensors: Mapping[str, NDArray[Any]]) -> list[Target]:
        per_token = self._answer.kind == "tag"
        return [
            found_target(self._answer, {self._answer.output: values[: row.length] if per_token else values}, row)
            for values, row in zip(
                tensors[self._answer.output], (self._rows[place] for place in self._current), strict=True
            )
        ]
