"""The bench: a head's backbone and preprocessing set up once, for its training, its gate and whoever looks inside."""

from collections.abc import Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from heads.base.building.features import features_of
from heads.base.building.ingredients import Ingredients
from heads.base.building.phases import Phases
from heads.base.building.prefix import FrozenPrefix
from heads.base.launch import launched
from heads.base.network import Network
from heads.base.tails.noise import make_noise
from heads.base.tails.tail import TailedHead
from heads.base.tasks.modules import make_head
from heads.base.threads import one_thread, workers
from zoo import Zoo
from zoo.errors import InvalidInput, InvalidLabels
from zoo.labels import Example
from zoo.manifest import StageManifest
from zoo.preprocessing import Preprocessor, Row, load_preprocessor

__all__ = ["Bench"]


class Bench:
    """Makes rows of examples, features of rows, and the network that trains on these.

    Args:
        zoo: where the backbone, images and cached features are.
        ingredients: what the head is made of.
        phases: times the phases and reports progress.

    Attributes:
        preprocessor: makes rows.
        prefix: the frozen stages, which make features.
        attached: manifests of all the stages that the head builds on; the first of them are the prefix.
    """

    def __init__(self, zoo: Zoo, ingredients: Ingredients, phases: Phases) -> None:
        manifest = ingredients.backbone.manifest
        self.preprocessor: Preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
        stages = [zoo.stage(stage.digest) for stage in manifest.stages]
        self.attached: Sequence[StageManifest] = stages[: len(ingredients.attached)]
        self.prefix = FrozenPrefix(ingredients.backbone, stages, len(ingredients.shared), self.preprocessor.declared)
        self._zoo = zoo
        self._ingredients = ingredients
        self._phases = phases

    def rows(self, examples: Sequence[Example]) -> list[Row]:
        """Preprocess examples.

        Raises:
            InvalidLabels: the image of one is not in the zoo, or preprocessing refuses an input.
        """
        return [self._row(example) for example in examples]

    def features(self, rows: Sequence[Row]) -> list[dict[str, NDArray[Any]]]:
        """Return every tensor known after the prefix for each row, without the N axis."""
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
        """Return the features of the longest row, with N = 1: something to trace with."""
        longest = max(rows, key=lambda row: row.length)
        return {name: torch.from_numpy(array)[None] for name, array in self.features([longest])[0].items()}

    def network(self) -> Network:
        """Return the untrained network: the head, or copies of the stages after the prefix with the head on them.

        A head alone is on the CPU, where it trains in seconds; blocks are on the GPU if there is one.

        Raises:
            InvalidHead: the backbone gives nothing that such a head can read, or has nothing that its tail could train.
        """
        declared, recipe = self._ingredients.package.head, self._ingredients.recipe
        shared = len(self._ingredients.shared)
        given = {spec.name: spec for stage in self.attached[shared:] for spec in stage.outputs}
        head = make_head(declared, recipe, self.prefix.available | given)
        if declared.tail is None:
            return head
        noise = None if shared else make_noise(recipe, self.preprocessor.spec, self._zoo.blobs.get)
        tailed = TailedHead(self.prefix.following(len(self.attached)), head, declared.tail, noise)
        shared_out = recipe.sharded and launched().count > 1  # a GPU may be too small for the whole
        return tailed.to("cuda" if torch.cuda.is_available() and not shared_out else "cpu")

    def _row(self, example: Example) -> Row:
        labels = self._ingredients.labels
        if example.image and not self._zoo.blobs.has(example.image):
            raise InvalidLabels(
                f"{labels.where(example.id)}: the image of {example.id!r} is not in the zoo: there is no blob "
                f"{example.image!r}. `zoo labels put <files>` puts pictures there and prints the digests for lines; "
                "a package with an images.py makes its own."
            )
        try:
            return self.preprocessor(self._zoo.blobs.get(example.image) if example.image else example.text)
        except InvalidInput as error:
            raise InvalidLabels(
                f"{labels.where(example.id)}: the input of {example.id!r} is refused. {error} Then mend that line, or "
                "take it out; nothing was published."
            ) from error
