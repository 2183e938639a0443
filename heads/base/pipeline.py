"""What a build does when there is something to build: features, training, gate, export, parity. Imports torch."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import torch

from heads.base.declaration import Multilabel
from heads.base.features import features_of
from heads.base.gate import check_gate
from heads.base.ingredients import Ingredients
from heads.base.metrics import measure_slices
from heads.base.modules import HeadStage, make_head
from heads.base.parity import exported_from, prove_parity
from heads.base.phases import Phases
from heads.base.prefix import FrozenPrefix
from heads.base.targets import answer_of, best_thresholds
from heads.base.threads import one_thread, workers
from heads.base.training import Encoded, answers_of, encode, outputs_of, train_head
from heads.base.variants import judge_variants, variant_tolerances
from zoo import Zoo
from zoo.errors import InvalidInput, InvalidLabels
from zoo.export import ExportedStage, ParityBench, export_stage
from zoo.labels import Example
from zoo.manifest import Answer, Format, GateResult, Metrics, Parity, Signature, StageRef, VersionManifest
from zoo.preprocessing import Preprocessor, Row, load_preprocessor

__all__ = ["make_version"]


def make_version(zoo: Zoo, ingredients: Ingredients, *, by: str, phases: Phases) -> VersionManifest:
    """Fine-tune a head, hold it to its gate, export it, prove the export, and describe the version.

    The head's stage is in the zoo afterwards; the version is not published yet.

    Args:
        zoo: where the backbone is and where the stage goes.
        ingredients: everything that goes into the version.
        by: who builds.
        phases: times the phases and reports progress.

    Raises:
        InvalidLabels: preprocessing refuses an input.
        TrainingFailed: the loss is not a number.
        GateMissed: the head is below its gate.
        ParityMissed: an export is too far from the torch model.
    """
    with phases.phase("prepare"):
        bench = _Bench(zoo, ingredients, phases)
    head, answer = _train(bench, ingredients, phases)
    judged = _judge(bench, ingredients, head, answer, phases)
    with phases.phase("export"):
        exported = export_stage(head, example=bench.example(judged.rows), grouped=True)
    with phases.phase("parity"):
        shared = [exported_from(zoo, stage.digest) for stage in ingredients.shared]
        parity, variants = _prove(bench, ingredients, head, [*shared, exported], judged, phases)
    own = _store(zoo, exported)
    package = ingredients.package.head
    return VersionManifest(
        head=package.name,
        team=package.team,
        backbone=ingredients.backbone.digest,
        stages=(*ingredients.shared, own),
        shared_stages=len(ingredients.shared),
        preprocessing=ingredients.backbone.manifest.preprocessing,
        signature=Signature(inputs=bench.preprocessor.declared, outputs=exported.manifest.outputs),
        answer=judged.answer,
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


class _Bench:
    """The frozen part of the path and its preprocessing, set up once: examples in, encoded splits out."""

    def __init__(self, zoo: Zoo, ingredients: Ingredients, phases: Phases) -> None:
        manifest = ingredients.backbone.manifest
        self.preprocessor: Preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
        stages = [zoo.stage(stage.digest) for stage in manifest.stages]
        count = len(ingredients.shared)
        self.prefix = FrozenPrefix(ingredients.backbone, stages, count, self.preprocessor.declared)
        self._zoo = zoo
        self._labels = ingredients.labels
        self._phases = phases

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        return [self._row(example) for example in examples]

    def features(self, rows: Sequence[Row]) -> list[dict[str, np.ndarray]]:
        with self._phases.phase("features"), one_thread():
            return features_of(
                rows,
                prefix=self.prefix,
                preprocessor=self.preprocessor,
                cache=self._zoo.features,
                workers=workers(),
                on_rows=self._phases.at,
            )

    def example(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Return what the head reads, for its longest row: something to trace the head with."""
        longest = max(rows, key=lambda row: row.length)
        return {name: torch.from_numpy(array)[None] for name, array in self.features([longest])[0].items()}

    def _row(self, example: Example) -> Row:
        if example.image and not self._zoo.blobs.has(example.image):
            raise InvalidLabels(
                f"{self._labels.path}: the image of {example.id!r} is not in the zoo: there is no blob "
                f"{example.image!r}. `zoo.blobs.put` its bytes there, and write the digest that it returns."
            )
        try:
            return self.preprocessor(self._zoo.blobs.get(example.image) if example.image else example.text)
        except InvalidInput as error:
            raise InvalidLabels(f"{self._labels.path}: the input of {example.id!r} is refused. {error}") from error


def _train(bench: _Bench, ingredients: Ingredients, phases: Phases) -> tuple[HeadStage, Answer]:
    """Train on the train split, and choose weights and thresholds on the valid split."""
    declared, recipe = ingredients.package.head, ingredients.recipe
    splits = ingredients.labels.for_training()
    prepared = []
    for examples in (splits.train, splits.valid):
        rows = bench.rows(examples)
        prepared.append((examples, rows, bench.features(rows)))
    with phases.phase("train"):
        head, valid, _ = train_head(
            lambda: make_head(declared, recipe, bench.prefix.available),
            lambda head: (encode(head, *prepared[0]), encode(head, *prepared[1])),
            recipe,
            on_epoch=lambda epoch, _score: phases.at(epoch, recipe.epochs),
        )
    thresholds = _thresholds(head, valid) if isinstance(declared.task, Multilabel) else ()
    return head, answer_of(declared.task, thresholds)


def _thresholds(head: HeadStage, valid: Encoded) -> tuple[float, ...]:
    scores_NC = np.stack([next(iter(values.values())) for values in outputs_of(head, valid)])
    return best_thresholds(scores_NC, np.stack([target.numpy() > 0 for target in valid.targets]))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """A trained head on the test split: what it reached there, and how its outputs become answers."""

    examples: Sequence[Example]
    rows: list[Row]
    answer: Answer
    metrics: Metrics
    gate: GateResult


def _judge(bench: _Bench, ingredients: Ingredients, head: HeadStage, answer: Answer, phases: Phases) -> _Judged:
    """Measure the head on the test split, which nothing was fitted to or chosen by, and hold it to its gate."""
    examples = ingredients.labels.for_gate()
    rows = bench.rows(examples)
    features = bench.features(rows)
    with phases.phase("gate"):
        data = encode(head, examples, rows, features)
        metrics = measure_slices(head.task, examples, answers_of(answer, outputs_of(head, data), rows))
        gate = check_gate(ingredients.package.head, metrics)
    return _Judged(examples=examples, rows=rows, answer=answer, metrics=metrics, gate=gate)


def _prove(
    bench: _Bench,
    ingredients: Ingredients,
    head: HeadStage,
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
        [*bench.prefix.to_cpu(), head],
        exports,
        judged.rows,
        bench.preprocessor,
        judged.answer,
        tolerance=declared.parity_tolerance,
        variants=tolerances,
        bench=_parity_bench(),
    )
    variants = judge_variants(declared, judged.examples, judged.metrics, proof)
    phases.notes.extend(variants.left_out)
    left_out = tolerances.keys() - variants.metrics.keys()
    return {form: parity for form, parity in proof.parity.items() if form not in left_out}, variants.metrics


@functools.cache
def _parity_bench() -> ParityBench:
    """One for the process: stages that were loaded for one head are there for the next."""
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
