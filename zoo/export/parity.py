"""Parity: how close the exported stages of a path are to the torch model, measured on whole paths."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from zoo.errors import ParityMissed
from zoo.export.declared import DeclaredModule
from zoo.export.sessions import OnnxSession
from zoo.export.stage import ExportedStage
from zoo.export.torchscript import load_torchscript
from zoo.manifest import Format, Parity, StageManifest, VariantFormat

__all__ = [
    "BATCH_SIZES",
    "TOLERANCE",
    "Answers",
    "Arrays",
    "ParityBench",
    "RunnableFormat",
    "check_parity",
    "cycle_batches",
    "measure_parity",
]

BATCH_SIZES = (1, 3, 17)
"""One row, an odd few, and more than a register holds: where kernels take different ways."""

TOLERANCE = 1e-4
"""The largest difference that may be published, unless a head says otherwise."""

Arrays = Mapping[str, NDArray[Any]]
"""Named tensors, each with N rows on its first axis."""

RunnableFormat = Literal["onnx", "torchscript"]
"""The forms of every stage that compute as torch does, in float32."""

Answers = Callable[[Arrays], Sequence[object]]
"""A path's tensors of one batch to one comparable answer a row."""

RowT = TypeVar("RowT")

_Loaded = Callable[[Arrays], dict[str, NDArray[Any]]]


def cycle_batches(rows: Sequence[RowT], sizes: Sequence[int] = BATCH_SIZES) -> list[list[RowT]]:
    """Lay rows out in batches of the given sizes, in turn, so that every row is in one batch.

    What does not fill another round goes into the largest batches it fills. Rows too few for one round are
    repeated, so that every size is measured.

    Args:
        rows: anything, at least one.
        sizes: batch sizes, 1 among them.

    >>> [len(batch) for batch in cycle_batches(range(50))]
    [1, 3, 17, 1, 3, 17, 3, 3, 1, 1]
    >>> [len(batch) for batch in cycle_batches(range(4))]
    [1, 3, 17]
    """
    assert 1 in sizes
    assert rows
    a_round = sum(sizes)
    laid_out = [rows[number % len(rows)] for number in range(max(len(rows), a_round))]
    lengths = list(sizes) * (len(laid_out) // a_round)
    left = len(laid_out) - sum(lengths)
    for size in sorted(sizes, reverse=True):
        lengths += [size] * (left // size)
        left %= size
    remaining = iter(laid_out)
    return [[next(remaining) for _ in range(length)] for length in lengths]


class ParityBench:
    """Runs exported paths, and keeps what it loaded: heads that share stages share them here too."""

    def __init__(self) -> None:
        self._loaded: dict[str, _Loaded] = {}

    def run(self, form: RunnableFormat | VariantFormat, path: Sequence[ExportedStage], arrays: Arrays) -> Arrays:
        """Run a path in one format.

        Args:
            form: which of the stored forms to run; a stage without a variant runs as ONNX, as a server has it.
            path: the stages, from input to answer.
            arrays: named inputs.

        Returns:
            Every tensor of the path by name.
        """
        known = dict(arrays)
        for stage in path:
            known.update(self._load(form, stage)(known))
        return known

    def _load(self, form: RunnableFormat | VariantFormat, stage: ExportedStage) -> _Loaded:
        stored = form if form in stage.manifest.artifacts else "onnx"
        blob = stage.manifest.artifacts[stored].blob
        if blob not in self._loaded:
            load = _load_script if stored == "torchscript" else _load_onnx
            self._loaded[blob] = load(stage.manifest, stage.artifact(stored))
        return self._loaded[blob]


def _load_onnx(manifest: StageManifest, data: bytes) -> _Loaded:
    session = OnnxSession(data)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        return dict(zip((spec.name for spec in manifest.outputs), session(arrays), strict=True))

    return run


def _load_script(manifest: StageManifest, data: bytes) -> _Loaded:
    module = load_torchscript(data)

    def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
        return _run_torch(manifest, module, arrays)

    return run


def measure_parity(
    path: Sequence[DeclaredModule],
    exported: Sequence[ExportedStage],
    batches: Iterable[Arrays],
    answers: Answers,
    *,
    tolerance: float = TOLERANCE,
    variants: Mapping[VariantFormat, float] | None = None,
    on_variant: Callable[[VariantFormat, Arrays], None] = lambda _form, _tensors: None,
    bench: ParityBench | None = None,
) -> dict[Format, Parity]:
    """Measure how close the exports of a path are to its torch modules, in every format that runs in float32.

    Args:
        path: the torch modules, from input to answer.
        exported: the same stages, exported.
        batches: named inputs of the path, batch by batch; at least one.
        answers: makes one comparable answer a row out of the last stage's outputs.
        tolerance: what the measurement is going to be held to; recorded with it.
        variants: other precisions to measure too, each with a tolerance of its own.
        on_variant: given the tensors of each batch in each of these.
        bench: where loaded stages are kept; give the same one for heads that share stages.

    Returns:
        Per format: the largest absolute difference in the last stage's outputs, and the share of equal answers. The
        difference of a variant that gives no numbers, or another shape, is infinite.

    Raises:
        ParityMissed: an export gives a NaN or an infinity, or another shape, where the torch model does not.
    """
    bench = bench or ParityBench()
    tolerances = variants or {}
    outputs = [declared.name for declared in path[-1].outputs]
    tallies = {form: _Tally() for form in get_args(RunnableFormat)}
    others = {form: _Tally() for form in tolerances}
    for arrays in batches:
        right = _run_path(path, arrays)
        right_answers = answers(right)
        for form, tally in tallies.items():
            found = bench.run(form, exported, arrays)
            difference = max(_difference(form, name, right[name], found[name]) for name in outputs)
            tally.add(right_answers, answers(found), difference)
        for variant, tally in others.items():
            found = bench.run(variant, exported, arrays)
            difference = max(_variant_difference(right[name], found[name]) for name in outputs)
            tally.add(right_answers, answers(found) if np.isfinite(difference) else (), difference)
            on_variant(variant, found)
    return {
        **{form: tally.parity(tolerance) for form, tally in tallies.items()},
        **{variant: tally.parity(tolerances[variant]) for variant, tally in others.items()},
    }


def check_parity(measured: Mapping[Format, Parity]) -> None:
    """Refuse exports that are too far from the torch model.

    Raises:
        ParityMissed: a format misses the tolerance that was recorded with it.
    """
    for form, parity in measured.items():
        if parity.max_abs_diff > parity.tolerance:
            raise ParityMissed(
                f"The {form} export differs from the torch model by up to {parity.max_abs_diff:.2e}, over "
                f"{parity.rows} rows ({parity.equal_answers:.1%} of the answers are equal); allowed is "
                f"{parity.tolerance:.2e}. Look at the stage that differs first (export_stage proves each alone), or "
                "raise parity_tolerance in the head's declaration if its answers can bear it."
            )


@dataclass(slots=True)
class _Tally:
    rows: int = 0
    equal: int = 0
    difference: float = 0.0
    batch_sizes: set[int] = field(default_factory=set)

    def add(self, right: Sequence[object], found: Sequence[object], difference: float) -> None:
        """Count one batch; fewer answers found than are right are not equal."""
        self.rows += len(right)
        self.equal += sum(a == b for a, b in zip(right, found, strict=False))
        self.difference = max(self.difference, difference)
        self.batch_sizes.add(len(right))

    def parity(self, tolerance: float) -> Parity:
        assert self.rows, "parity needs at least one batch"
        return Parity(
            rows=self.rows,
            batch_sizes=tuple(sorted(self.batch_sizes)),
            max_abs_diff=self.difference,
            equal_answers=self.equal / self.rows,
            tolerance=tolerance,
        )


def _difference(form: str, name: str, right: NDArray[Any], found: NDArray[Any]) -> float:
    if right.shape != found.shape:
        raise ParityMissed(
            f"The {form} export gives {name} as {found.shape}; torch gives {right.shape}. Export it again."
        )
    if not np.isfinite(found).all():
        raise ParityMissed(
            f"The {form} export gives {name} with a NaN or an infinity in it; torch gives values up to "
            f"{np.abs(right).max():.3g}. Look for a division by a length or a logarithm that may be of 0."
        )
    return float(np.abs(right.astype(np.float64) - found).max(initial=0.0))


def _variant_difference(right: NDArray[Any], found: NDArray[Any]) -> float:
    if right.shape != found.shape or not np.isfinite(found).all():
        return float("inf")
    return float(np.abs(right.astype(np.float64) - found).max(initial=0.0))


def _run_path(path: Sequence[DeclaredModule], arrays: Arrays) -> Arrays:
    known = dict(arrays)
    for stage in path:
        known.update(_run_torch(stage, stage, known))
    return known


def _run_torch(declared: Any, module: Callable[..., Sequence[torch.Tensor]], arrays: Arrays) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        results = module(*(torch.from_numpy(arrays[each.name]) for each in declared.inputs))
    return {each.name: result.numpy() for each, result in zip(declared.outputs, results, strict=True)}
