"""What a build does when there is something to build: features, training, gate, export, parity. Imports torch."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from backbone.stage import Stage, run_path
from heads.base.building.bench import Bench
from heads.base.building.company import Company
from heads.base.building.gate import check_gate
from heads.base.building.ingredients import Ingredients
from heads.base.building.parity import exported_from, prove_parity
from heads.base.building.phases import Phases
from heads.base.building.variants import judge_variants, variant_tolerances
from heads.base.declaration import Multilabel
from heads.base.network import Network
from heads.base.readings import read_test_split
from heads.base.runs.watching import Watched
from heads.base.tails.tail import TailedHead, private_path
from heads.base.tasks.masks import check_painted
from heads.base.tasks.metrics import measure_slices
from heads.base.tasks.targets import answer_of, best_thresholds
from heads.base.training import Encoded, answers_of, encode, outputs_of, train_head
from heads.base.uncertainty.fitting import naming_uncertainty, with_certainty
from heads.base.uncertainty.metrics import certainty_metrics, outside_features
from zoo import Zoo
from zoo.export import ExportedStage, ParityBench, export_stage
from zoo.labels import Example
from zoo.manifest import (
    Answer,
    Format,
    GateResult,
    Metrics,
    Parity,
    Signature,
    StageRef,
    VariantFormat,
    VersionManifest,
)
from zoo.preprocessing import Row

__all__ = ["make_version", "take_part"]


def make_version(
    zoo: Zoo,
    ingredients: Ingredients,
    *,
    by: str,
    phases: Phases,
    watched: Watched,
    processes: Company | None = None,
) -> VersionManifest:
    """Fine-tune a head, hold it to its gate, export it, prove the export, and describe the version.

    The stages that are the head's own are in the zoo afterwards; the version is not published yet.

    Args:
        zoo: where the backbone is and where the stages go.
        ingredients: everything that goes into the version.
        by: who builds.
        phases: times the phases and reports progress.
        watched: who is told how the training goes, and where it goes on if it was killed.
        processes: who is to train with this one, which is the first of them; None for nobody.

    Raises:
        InvalidLabels: preprocessing refuses an input.
        TrainingFailed: the loss is not a number.
        GateMissed: the head is below its gate.
        ParityMissed: an export is too far from the torch model.
    """
    with phases.phase("prepare"):
        bench = Bench(zoo, ingredients, phases)
        bench.rows(ingredients.labels.test_inputs())  # what the gate could not read is better known before the training
    network, answer = _train(bench, ingredients, phases, watched, processes)
    judged = _judge(zoo, bench, ingredients, network, answer, by=by, phases=phases)
    private = private_path(network)
    with phases.phase("export"):
        exported = _export(bench, private, bench.example(judged.rows))
    with phases.phase("parity"):
        shared = [exported_from(zoo, stage.digest) for stage in ingredients.shared]
        parity, variants = _prove(bench, ingredients, private, [*shared, *exported], judged, phases)
    own = [_store(zoo, stage) for stage in exported]
    package = ingredients.package.head
    return VersionManifest(
        head=package.name,
        team=package.team,
        backbone=ingredients.backbone.digest,
        stages=(*ingredients.shared, *own),
        shared_stages=len(ingredients.shared),
        preprocessing=ingredients.backbone.manifest.preprocessing,
        signature=Signature(inputs=bench.preprocessor.declared, outputs=exported[-1].manifest.outputs),
        answer=naming_uncertainty(judged.answer, network),
        labels=ingredients.labels.commit(),
        code=ingredients.code,
        environment=ingredients.libraries,
        recipe=ingredients.recipe.model_dump(mode="json"),
        build_key=ingredients.key,
        metrics=judged.metrics,
        gate=judged.gate,
        parity=parity,
        variants=variants,
        parents=_parents(zoo, package.name),
        created_by=by,
        created_at=datetime.now(UTC),
    )


def take_part(zoo: Zoo, ingredients: Ingredients, *, phases: Phases, watched: Watched) -> None:
    """Train with the first of several processes, which has computed all features, and make nothing of it.

    Args:
        zoo: where the backbone and the features are.
        ingredients: the same as in the first process.
        phases: times the phases.
        watched: where the training goes on if it was killed.

    Raises:
        TrainingFailed: the loss is not a number.
    """
    bench = Bench(zoo, ingredients, phases)
    _fit(bench, ingredients, phases, watched, _prepared(bench, ingredients))


_Prepared = tuple[Sequence[Example], list[Row], list[dict[str, NDArray[Any]]]]
"""Examples of a split, their rows, and the features of these."""


def _train(
    bench: Bench, ingredients: Ingredients, phases: Phases, watched: Watched, processes: Company | None
) -> tuple[Network, Answer]:
    """Train on the train split, and choose weights and thresholds on the valid split."""
    declared, recipe = ingredients.package.head, ingredients.recipe
    prepared = _prepared(bench, ingredients)
    if processes:
        processes.say("train", key=ingredients.key)
    network, valid = _fit(bench, ingredients, phases, watched, prepared)
    if isinstance(network, TailedHead):
        network.merge()
    with phases.phase("certainty"):
        network = with_certainty(declared, network, lambda: encode(network, *prepared[0]), valid, seed=recipe.seed)
    thresholds = _thresholds(network, valid) if isinstance(declared.task, Multilabel) else ()
    return network, answer_of(declared.task, thresholds)


def _prepared(bench: Bench, ingredients: Ingredients) -> tuple[_Prepared, _Prepared]:
    """Return the train and the valid split, with features."""
    splits = ingredients.labels.for_training()
    check_painted(ingredients.package.head, splits.train)
    prepared = []
    for examples in (splits.train, splits.valid):
        rows = bench.rows(examples)
        prepared.append((examples, rows, bench.features(rows)))
    return prepared[0], prepared[1]


def _fit(
    bench: Bench, ingredients: Ingredients, phases: Phases, watched: Watched, prepared: tuple[_Prepared, _Prepared]
) -> tuple[Network, Encoded]:
    """Return the trained network, and the valid split as it saw it."""
    with phases.phase("train"):
        network, valid, _ = train_head(
            bench.network,
            lambda network: (encode(network, *prepared[0]), encode(network, *prepared[1])),
            ingredients.recipe,
            observers=watched.observers,
            checkpoints=watched.checkpoints,
        )
    return network, valid


def _thresholds(network: Network, valid: Encoded) -> tuple[float, ...]:
    scores_NC = np.stack([next(iter(values.values())) for values in outputs_of(network, valid)])
    return best_thresholds(scores_NC, np.stack([target.numpy() > 0 for target in valid.targets]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A trained head on the test split: what it reached there, and how its outputs become answers."""

    examples: Sequence[Example]
    rows: list[Row]
    answer: Answer
    metrics: Metrics
    gate: GateResult


def _judge(
    zoo: Zoo, bench: Bench, ingredients: Ingredients, network: Network, answer: Answer, *, by: str, phases: Phases
) -> _Judged:
    """Measure the head on the test split, which nothing was fitted to or chosen by, and hold it to its gate."""
    declared = ingredients.package.head
    test = read_test_split(zoo, declared.name, ingredients.labels, by=by, reason="gate", build_key=ingredients.key)
    phases.notes.append(test.told)
    examples = test.examples
    rows = bench.rows(examples)
    features, outside = bench.features(rows), outside_features(declared, bench, zoo.blobs)
    with phases.phase("gate"):
        data = encode(network, examples, rows, features)
        metrics = measure_slices(network.task, examples, answers_of(answer, outputs_of(network, data), rows))
        metrics = certainty_metrics(metrics, network, data, outside)
        gate = check_gate(declared, metrics, readings=test.readings)
    return _Judged(examples=examples, rows=rows, answer=answer, metrics=metrics, gate=gate)


def _export(bench: Bench, private: Sequence[Stage], example: Mapping[str, Tensor]) -> list[ExportedStage]:
    """Export the stages that are the head's own; copies of the backbone's, in the forms that those are stored in."""
    *copies, head = private
    originals = bench.attached[len(bench.attached) - len(copies) :]
    exported, known = [], dict(example)
    for stage, original in zip(copies, originals, strict=True):
        forms = [form for form in get_args(VariantFormat) if form in original.artifacts]
        exported.append(export_stage(stage, example=known, variants=forms))
        with torch.no_grad():
            known = run_path([stage], known)
    # A group is of heads that read the same tensors; what comes out of a tail, one head reads.
    return [*exported, export_stage(head, example=known, grouped=not copies)]


def _prove(
    bench: Bench,
    ingredients: Ingredients,
    private: Sequence[Stage],
    exports: Sequence[ExportedStage],
    judged: _Judged,
    phases: Phases,
) -> tuple[dict[Format, Parity], dict[Format, Metrics]]:
    """Compare every form of the path with torch.

    Returns:
        The parity of each form that may be served, and the metrics of those in another precision than fp32.
    """
    declared = ingredients.package.head
    tolerances = variant_tolerances(declared, [stage.manifest for stage in exports])
    proof = prove_parity(
        [*bench.prefix.to_cpu(), *private],
        exports,
        judged.rows,
        bench.preprocessor,
        judged.answer,
        tolerance=declared.parity_tolerance,
        variants=tolerances,
        bench=_parity_bench() if declared.tail is None else ParityBench(),
    )
    variants = judge_variants(declared, judged.examples, judged.metrics, proof)
    phases.notes.extend(variants.left_out)
    left_out = tolerances.keys() - variants.metrics.keys()
    return {form: parity for form, parity in proof.parity.items() if form not in left_out}, variants.metrics


@functools.cache
def _parity_bench() -> ParityBench:
    """One for the process: stages that were loaded for one head are there for the next. Tails would only fill it."""
    return ParityBench()


def _store(zoo: Zoo, exported: ExportedStage) -> StageRef:
    for data in exported.blobs.values():
        zoo.blobs.put(data)
    return zoo.add_stage(exported.manifest)


def _parents(zoo: Zoo, head: str) -> tuple[str, ...]:
    """Return the digest of the newest version of the head so far, if there is one."""
    if head not in {summary.name for summary in zoo.heads()}:
        return ()
    return (zoo.versions(head)[0].digest,)
