"""Proof that the exported path of a head answers like the torch model, on its test inputs and on edge inputs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

from numpy.typing import NDArray

from backbone.stage import Stage
from heads.base.edges import edge_rows
from heads.base.targets import found_target
from heads.base.threads import one_thread
from zoo import Zoo
from zoo.export import ExportedStage, ParityBench, check_parity, cycle_batches, measure_parity
from zoo.export.parity import RunnableFormat
from zoo.manifest import Answer, Format, Parity
from zoo.preprocessing import Preprocessor, Row, collate

__all__ = ["exported_from", "prove_parity"]

_DECIMALS = 2
"""Two values are the same answer if they agree to this many decimals; a person reads no more."""


def exported_from(zoo: Zoo, digest: str) -> ExportedStage:
    """Return a stage as the zoo has it, with the bytes of every format that can be run."""
    manifest = zoo.stage(digest)
    blobs = [manifest.artifacts[form].blob for form in get_args(RunnableFormat) if form in manifest.artifacts]
    return ExportedStage(manifest=manifest, blobs={blob: zoo.blobs.get(blob) for blob in blobs})


def prove_parity(
    stages: Sequence[Stage],
    exported: Sequence[ExportedStage],
    rows: Sequence[Row],
    preprocessor: Preprocessor,
    answer: Answer,
    *,
    tolerance: float,
    bench: ParityBench | None = None,
) -> dict[Format, Parity]:
    """Run whole paths, in torch and in every exported format, and compare outputs and typed answers.

    Args:
        stages: the torch modules, from input to answer, on the CPU.
        exported: the same stages, as they are served.
        rows: the head's own test inputs; edge inputs are added to them.
        preprocessor: of the path.
        answer: how outputs become an answer.
        tolerance: largest difference that may be published.
        bench: where loaded stages are kept; give the same one for heads that share stages.

    Raises:
        ParityMissed: an export is too far from the torch model.
    """
    # Edge inputs first, ragged as they come: the longest of all then shares a small batch. The others share theirs with
    # rows of about their length, ragged too, and a third of the tokens to compute.
    ordered = [*edge_rows(preprocessor), *sorted(rows, key=lambda row: row.length)]
    batches = _Batches(ordered, preprocessor, answer)
    with one_thread():
        measured = measure_parity(stages, exported, batches, batches.answers, tolerance=tolerance, bench=bench)
    check_parity(measured)
    return measured


class _Batches:
    """Ragged batches, and the answers to the one that was handed out last: an answer needs the text of its row."""

    def __init__(self, rows: Sequence[Row], preprocessor: Preprocessor, answer: Answer) -> None:
        self._batches = cycle_batches(rows)
        self._preprocessor = preprocessor
        self._answer = answer
        self._current: Sequence[Row] = ()

    def __iter__(self) -> Iterator[dict[str, NDArray[Any]]]:
        for batch in self._batches:
            self._current = batch
            yield collate(batch, self._preprocessor)

    def answers(self, tensors: Mapping[str, NDArray[Any]]) -> list[object]:
        """Return one comparable answer for each row of the current batch."""
        array = tensors[self._answer.output]
        per_token = self._answer.kind == "tag"
        found = (
            found_target(self._answer, {self._answer.output: values[: row.length] if per_token else values}, row)
            for values, row in zip(array, self._current, strict=True)
        )
        return [round(target, _DECIMALS) if isinstance(target, float) else target for target in found]
