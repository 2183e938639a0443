"""Searching the recipe of a frozen head: its features are computed once, and every trial trains on them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from heads.base.building.bench import Bench
from heads.base.building.ingredients import Ingredients
from heads.base.building.phases import Phases
from heads.base.errors import InvalidHead
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.runs.folder import RunFolder
from heads.base.search.space import describe_space
from heads.base.search.study import Found, Search
from heads.base.tasks.modules import make_head
from heads.base.training import Encoded, Observer, Trained, encode, train_head
from zoo import Zoo
from zoo.digest import digest_json
from zoo.labels import Example
from zoo.preprocessing import Row

__all__ = ["JOURNAL", "FrozenTrainer", "search_head", "search_key"]

JOURNAL = "journal.jsonl"

_Split = tuple[Sequence[Example], list[Row], list[dict[str, NDArray[Any]]]]


class FrozenTrainer:
    """Trains a frozen head by any recipe, on features that were computed once.

    Args:
        bench: where features come from.
        ingredients: the head and its labels. The test split is not read.

    Raises:
        InvalidHead: the head has a tail: each of its trainings would run a part of the backbone.
    """

    def __init__(self, bench: Bench, ingredients: Ingredients) -> None:
        self._head = ingredients.package.head
        if self._head.tail is not None:
            raise InvalidHead(
                f"{self._head.name!r} has a tail, and each trial would run the blocks in it. A search is over frozen "
                "heads: take `tail` out of the declaration, search, and put it back."
            )
        self._available = bench.prefix.available
        splits = ingredients.labels.for_training()
        self._splits = [_prepared(bench, examples) for examples in (splits.train, splits.valid)]
        self._encoded: dict[str, tuple[Encoded, Encoded]] = {}

    @property
    def valid_examples(self) -> int:
        """How many examples the score is measured on."""
        return len(self._splits[1][0])

    def __call__(self, recipe: Recipe, observers: Sequence[Observer] = ()) -> Trained:
        """Train the head by a recipe; say what it reached on the valid split."""

        def split(network: Network) -> tuple[Encoded, Encoded]:
            # Of a recipe's keys, `reduce` reads this one alone.
            if recipe.pool not in self._encoded:
                train, valid = (encode(network, *prepared) for prepared in self._splits)
                self._encoded[recipe.pool] = (train, valid)
            return self._encoded[recipe.pool]

        return train_head(lambda: make_head(self._head, recipe, self._available), split, recipe, observers=observers)[2]


def search_head(
    zoo: Zoo,
    ingredients: Ingredients,
    run: RunFolder,
    *,
    trials: int,
    seconds: float,
    seed: int,
    phases: Phases,
    stopped: Callable[[], bool],
) -> Found:
    """Search the recipe of a head until there are so many trials, time is up, or ``stopped`` says so.

    Args:
        zoo: where the backbone and the cached features are.
        ingredients: the head, its labels and today's recipe.
        run: where the trials are kept; a search that was killed goes on from there.
        trials: how many there shall be in all.
        seconds: how long trials may begin.
        seed: of the search.
        phases: times the phases and reports progress.
        stopped: asked before each trial.
    """
    with phases.phase("prepare"):
        bench = Bench(zoo, ingredients, phases)
    train = FrozenTrainer(bench, ingredients)
    with phases.phase("search"):
        search = Search(
            journal=run.path / JOURNAL,
            task=ingredients.package.head.task,
            recipe=ingredients.recipe,
            train=train,
            seed=seed,
            on_trial=lambda done, total, best: phases.at(done, total, f"best {best:.3f}"),
        )
        return search.run(trials, seconds=seconds, stopped=stopped)


def search_key(ingredients: Ingredients, *, seed: int) -> str:
    """Return the digest of everything that decides what a search finds.

    It is that of the build without the recipe's searched keys: the best recipe may be written, and the search is still
    the same one.
    """
    task = ingredients.package.head.task
    parts: Mapping[str, Any] = {
        "head": ingredients.package.head.describe(),
        "labels": ingredients.labels.digest,
        "code": ingredients.code,
        "stages": [stage.digest for stage in ingredients.shared],
        "preprocessing": ingredients.backbone.manifest.preprocessing.content_digest(),
        "libraries": ingredients.libraries,
        "recipe": describe_space(task, ingredients.recipe),
        "seed": seed,
    }
    return digest_json(dict(parts))


def _prepared(bench: Bench, examples: Sequence[Example]) -> _Split:
    rows = bench.rows(examples)
    return examples, rows, bench.features(rows)
