"""Who watches a build's training, and where it can go on if it is killed: decided before torch is there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from heads.base.building.ingredients import Ingredients
from heads.base.building.phases import Phases
from heads.base.launch import launched
from heads.base.runs.folder import RunFolder, prune_runs

if TYPE_CHECKING:  # they bring torch
    from heads.base.training import Checkpoints, Observer

__all__ = ["Watch", "Watched", "unwatched", "watch_in"]

_STEPS_A_CHECKPOINT = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a training is given.

    Attributes:
        observers: who is told how it goes.
        checkpoints: where its state is written; None for nowhere.
    """

    observers: Sequence["Observer"] = ()
    checkpoints: "Checkpoints | None" = None


Watch = Callable[[Ingredients, Phases], AbstractContextManager[Watched]]
"""Sets up who watches the building of a version, and takes note of how it ended."""


def unwatched(_ingredients: Ingredients, phases: Phases) -> AbstractContextManager[Watched]:
    """Show how far the training is, and keep nothing."""
    from heads.base.training import EpochProgress

    return nullcontext(Watched(observers=(EpochProgress(phases.at),)))


def watch_in(zoo_folder: str | Path, *, mlflow_uri: str = "") -> Watch:
    """Return what keeps a run folder for each build: history, TensorBoard, checkpoints, and what layers gave.

    Args:
        zoo_folder: the folder of the zoo.
        mlflow_uri: log to this MLflow server too; empty for none.
    """

    @contextmanager
    def watch(ingredients: Ingredients, phases: Phases) -> Iterator[Watched]:
        name = ingredients.package.head.name
        run = RunFolder.open(zoo_folder, name, ingredients.key)
        if launched().rank:  # the first process holds the run, and was here before
            yield Watched(checkpoints=_checkpoints(run, ingredients))
            return
        with run.at_work():
            prune_runs(zoo_folder, name)
            yield _watched(run, ingredients, phases, mlflow_uri)

    return watch


def _watched(run: RunFolder, ingredients: Ingredients, phases: Phases, mlflow_uri: str) -> Watched:
    from heads.base.inspect.observer import ActivationObserver
    from heads.base.runs.observers import HistoryObserver, MLflowObserver, ProgressObserver, TensorBoardObserver

    observers: list[Observer] = [
        ProgressObserver(phases.at),
        HistoryObserver(run.history),
        TensorBoardObserver(run.tensorboard),
        ActivationObserver(run.path),
    ]
    if mlflow_uri:
        observers.append(
            MLflowObserver(
                uri=mlflow_uri,
                head=ingredients.package.head.name,
                name=run.path.name,
                parameters=ingredients.recipe.model_dump(mode="json"),
                on_trouble=phases.notes.append,
            )
        )
    return Watched(observers=observers, checkpoints=_checkpoints(run, ingredients))


def _checkpoints(run: RunFolder, ingredients: Ingredients) -> "Checkpoints":
    from heads.base.training import Checkpoints

    return Checkpoints(folder=run.checkpoint, every_steps=_STEPS_A_CHECKPOINT, key=ingredients.key)
