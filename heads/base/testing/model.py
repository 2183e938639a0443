"""The built head as a team's tests ask it: the bytes that a server would load, and the same preprocessing."""

from collections.abc import Sequence
from typing import Any, Protocol

from numpy.typing import NDArray

from heads.base.building.features import batches_by_length
from heads.base.declaration import Task
from heads.base.packages import Package
from heads.base.readings import TestSplit, read_test_split
from heads.base.tasks.masks import open_masks
from heads.base.testing.tables import shown
from zoo import Version, Zoo
from zoo.answers import Decoded, decode
from zoo.errors import InvalidInput
from zoo.labels import Example, Labels, Target
from zoo.manifest import StageManifest
from zoo.preprocessing import Row, collate, load_preprocessor

__all__ = ["Asked", "Model"]

Raw = str | bytes


class Asked(Protocol):
    """What the expectations need of a model; a function from inputs to answers is one."""

    def __call__(self, inputs: Sequence[Raw], /) -> Sequence[Decoded]:
        """Return the answer to each input."""
        ...


class Model:
    """One version of a head. Answers are kept: an input that is asked again costs nothing.

    Args:
        zoo: where the version is; open for as long as the model is used.
        version: which.
        package: the head package, for its examples.
        by: who asks, for the log of readings.
    """

    def __init__(self, zoo: Zoo, version: Version, package: Package, *, by: str) -> None:
        self.version = version
        self.package = package
        self._zoo = zoo
        self._by = by
        self._manifest = zoo.manifest(version)
        self._preprocess = load_preprocessor(self._manifest.preprocessing, zoo.blobs.get)
        self._path = [_LoadedStage(zoo, zoo.stage(ref.digest)) for ref in self._manifest.stages]
        self._known: dict[str, tuple[Row, dict[str, NDArray[Any]]]] = {}
        self._labels: Labels | None = None
        self._test: TestSplit | None = None

    def __repr__(self) -> str:
        return f"<Model {self.version}>"

    @property
    def task(self) -> Task:
        """What kind of answer it gives."""
        return self.package.head.task

    def __call__(self, inputs: Sequence[Raw], /) -> list[Decoded]:
        """Return the answer to each input, a text or the bytes of an image, as a server gives it.

        Raises:
            InvalidInput: preprocessing refuses one; the text says which.
        """
        return [decode(self._manifest.answer, outputs, row) for row, outputs in self._computed(inputs)]

    def targets(self, examples: Sequence[Example]) -> list[Target]:
        """Return the answer to each example in the form of its label, for metrics."""
        from heads.base.tasks.targets import found_target  # imports torch

        inputs = [self._zoo.blobs.get(example.image) if example.image else example.text for example in examples]
        return [found_target(self._manifest.answer, outputs, row) for row, outputs in self._computed(inputs)]

    def valid_examples(self) -> tuple[Example, ...]:
        """Return the examples of the valid split: what may be looked at as often as one likes."""
        return self._read_labels().for_training().valid

    def test_split(self, reason: str) -> TestSplit:
        """Return the test split; the first time, that it is read is logged in the zoo.

        Args:
            reason: what for.
        """
        if self._test is None:
            self._test = read_test_split(
                self._zoo,
                self.version.head,
                self._read_labels(),
                by=self._by,
                reason=reason,
                build_key=self.version.build_key,
                number=self.version.number,
            )
        return self._test

    def _read_labels(self) -> Labels:
        if self._labels is None:
            labels = self.package.labels()
            self._labels = open_masks(self._zoo, self.package.head, labels, self._manifest.preprocessing)
        return self._labels

    def _computed(self, inputs: Sequence[Raw]) -> list[tuple[Row, dict[str, NDArray[Any]]]]:
        rows = [self._row(raw) for raw in inputs]
        missing = {row.digest: row for row in rows if row.digest not in self._known}
        for batch in batches_by_length(list(missing.values())):
            self._compute(batch)
        return [self._known[row.digest] for row in rows]

    def _row(self, raw: Raw) -> Row:
        try:
            return self._preprocess(raw)
        except InvalidInput as error:
            raise type(error)(f"{self.version} refuses the input {shown(raw)!r}. {error}") from error

    def _compute(self, batch: Sequence[Row]) -> None:
        known = dict(collate(batch, self._preprocess))
        for stage in self._path:
            known |= stage(known)
        wanted = {spec.name: spec for spec in self._manifest.signature.outputs}
        for place, row in enumerate(batch):
            outputs = {
                name: known[name][place, : row.length] if "T" in spec.shape else known[name][place]
                for name, spec in wanted.items()
            }
            self._known[row.digest] = row, outputs


class _LoadedStage:
    """A stage as a server runs it: its ONNX export."""

    def __init__(self, zoo: Zoo, manifest: StageManifest) -> None:
        from zoo.export.sessions import OnnxSession  # imports torch, by way of its package

        self._manifest = manifest
        self._session = OnnxSession(zoo.blobs.get(manifest.artifacts["onnx"].blob))

    def __call__(self, arrays: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        names = (spec.name for spec in self._manifest.outputs)
        return dict(zip(names, self._session(arrays), strict=True))
