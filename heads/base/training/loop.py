"""The training loop: epochs of a course, judged by the valid split, from which a killed run goes on."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor

from heads.base.errors import TrainingFailed
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.tasks.metrics import watched_score
from heads.base.threads import one_thread
from heads.base.training.averaging import Average, moving, update_batch_norms
from heads.base.training.checkpoint import Checkpoints, clear_checkpoints, read_checkpoint, write_checkpoint
from heads.base.training.course import Course
from heads.base.training.encoded import Encoded
from heads.base.training.observing import EpochRecord, Observer, StepRecord
from heads.base.training.processes import choose_device, processes_for
from heads.base.training.scoring import device_of, score
from heads.base.training.state import State
from heads.base.training.stepping import Stepper
from heads.base.training.watching import Best, DivergenceWatch
from heads.base.training.weights import changing_weights, put_weights, set_training_mode

__all__ = ["Trained", "seeded", "train_head"]

Trainable = TypeVar("Trainable", bound=Network)

_IDS_NAMED = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How training went. The network given to it has the weights of the best epoch, or the average that ``swa`` took.

    Attributes:
        epochs: how many there were.
        best_epoch: the one whose weights it has; with ``swa``, the last.
        seconds: how long it took, before and after a resume.
        valid: metrics on the valid split.
    """

    epochs: int
    best_epoch: int
    seconds: float
    valid: dict[str, float]


def train_head(
    make: Callable[[], Trainable],
    split: Callable[[Trainable], tuple[Encoded, Encoded]],
    recipe: Recipe,
    *,
    observers: Sequence[Observer] = (),
    checkpoints: Checkpoints | None = None,
) -> tuple[Trainable, Encoded, Trained]:
    """Train a network and give it the weights of its best epoch on the valid split.

    It trains where ``make`` puts it. In processes that ``torchrun`` started, all of which call this, each batch is
    shared out; the first process alone tells observers and writes checkpoints.

    Args:
        make: makes the untrained network; called under the recipe's seed, and where processes share out its weights
            once more, to take them back.
        split: the train and the valid split, encoded for that network.
        recipe: how to train.
        observers: told about each step and each epoch.
        checkpoints: where the state is written, to go on from if the run is killed; deleted when it is done.

    Returns:
        The trained network, in eval mode; the valid split as it saw it; and how it went.

    Raises:
        InvalidRecipe: the recipe does not fit the network or its device.
        TrainingFailed: the loss is not a number, or diverges.
        CheckpointFailed: a checkpoint cannot be written or read.
    """
    choose_device()
    with seeded(recipe):
        network = make()
        train, valid = split(network)
        run = _Run(network, train, valid, recipe, observers, checkpoints)
        trained = run.go()
        if whole := run.whole_weights():
            torch.manual_seed(recipe.seed)
            network = make().eval()
            put_weights(network, whole)
    return network, valid, trained


@contextmanager
def seeded(recipe: Recipe) -> Iterator[None]:
    """Compute the body on one thread and under the recipe's seed; the caller's random state is left alone."""
    initialized = torch.cuda.is_initialized()  # type: ignore[no-untyped-call] # torch leaves it untyped
    devices = [torch.cuda.current_device()] if initialized else []
    with torch.random.fork_rng(devices=devices), one_thread():
        torch.manual_seed(recipe.seed)
        yield


def explain_no_number(loss: float, step: int, ids: Sequence[str], broken: bool) -> TrainingFailed:
    """Return the error for a loss that is no number.

    Args:
        loss: what it is.
        step: of the optimiser, from 1.
        ids: of the examples in the batch.
        broken: whether they are those whose features are no numbers.
    """
    named = ", ".join(ids[:_IDS_NAMED]) + (f" and {len(ids) - _IDS_NAMED} more" if len(ids) > _IDS_NAMED else "")
    if broken:
        return TrainingFailed(
            f"The loss is {loss} at step {step}; expected a finite number. The features of {named} are not numbers: "
            "look at these inputs."
        )
    batch = f", in the batch of {named}" if named else ""
    return TrainingFailed(
        f"The loss is {loss} at step {step}{batch}; expected a finite number. Lower learning_rate in recipe.toml, "
        "or look for inputs whose features are not numbers."
    )


@dataclass(slots=True)
class _Position:
    """How far a run is. Between epochs ``batches`` is empty."""

    epoch: int = 1
    done: int = 0  # batches of the epoch
    step: int = 0
    batches: list[list[int]] = field(default_factory=list)
    loss: float = 0.0  # summed over the rows of the epoch
    rows: int = 0
    training_s: float = 0.0  # of the epoch
    epoch_s: float = 0.0

    def state(self) -> State:
        order = torch.tensor([row for batch in self.batches for row in batch], dtype=torch.int64)
        sizes = torch.tensor([len(batch) for batch in self.batches], dtype=torch.int64)
        names = ("epoch", "done", "step", "loss", "rows", "training_s", "epoch_s")
        return State(tensors={"order": order, "sizes": sizes}, values={name: getattr(self, name) for name in names})

    @classmethod
    def restored(cls, state: State) -> "_Position":
        sizes = state.tensors["sizes"].tolist()
        batches = [batch.tolist() for batch in torch.split(state.tensors["order"], sizes)] if sizes else []
        return cls(batches=batches, **state.values)


class _Run:
    """One training, from its first step or from a checkpoint."""

    def __init__(
        self,
        network: Network,
        train: Encoded,
        valid: Encoded,
        recipe: Recipe,
        observers: Sequence[Observer],
        checkpoints: Checkpoints | None,
    ) -> None:
        self._network, self._valid, self._recipe = network, valid, recipe
        self._processes = processes_for(device_of(network), sharded=recipe.sharded)
        self._stepper = Stepper(network, train, recipe, self._processes)
        self._course = Course(recipe=recipe, deepest=self._stepper.layers[-1].depth)
        self._ema = Average(self._stepper.parameters, moving(recipe.ema)) if recipe.ema else None
        self._swa = Average(self._stepper.parameters) if recipe.swa else None
        self._best, self._watch, self._at = Best(), DivergenceWatch(), _Position()
        self._observers = observers if self._processes.rank == 0 else ()
        self._checkpoints = checkpoints
        self._before_s, self._began_s = 0.0, time.monotonic()
        if self._processes.rank:  # drop-out is to differ between the processes
            torch.manual_seed(recipe.seed + self._processes.rank)

    def go(self) -> Trained:
        """Train to the end; the network then has the weights that the recipe wants."""
        self._resume()
        try:
            for observer in self._observers:
                observer.begins(self._network, self._course.epochs)
            epochs = self._epochs()
            valid = self._finish()
        finally:
            self._stepper.ends()
            for observer in self._observers:
                observer.ends()
        if self._checkpoints and self._processes.rank == 0:
            clear_checkpoints(self._checkpoints)
        best_epoch = epochs if self._swa else self._best.epoch
        return Trained(epochs=epochs, best_epoch=best_epoch, seconds=self._elapsed_s(), valid=valid)

    def whole_weights(self) -> dict[str, Tensor]:
        """Return what was trained, if the processes have shared it out; else the network has it, and this is empty."""
        if not self._processes.sharded:
            return {}
        return dict(self._processes.gather(State(tensors=self._weights()), everywhere=True).tensors)

    def _epochs(self) -> int:
        """Train epoch by epoch, and return how many there were."""
        while True:
            at = self._at
            self._train_epoch()
            self._judge_epoch()
            if self._course.stops(at.epoch, self._best.epoch):
                self._watch.end()
                return at.epoch
            self._at = _Position(epoch=at.epoch + 1, step=at.step)

    def _train_epoch(self) -> None:
        at = self._at
        if not at.batches:
            if self._course.begins_leg(at.epoch) and at.step:
                self._stepper.new_optimizer()
            at.batches = self._stepper.shuffled()
        self._stepper.train_down_to(self._course.depth(at.epoch))
        while at.done < len(at.batches):
            started = time.monotonic()
            record = self._step(at.batches[at.done])
            took = time.monotonic() - started
            at.training_s += took
            at.epoch_s += took
            for observer in self._observers:
                observer.on_step(record(took))
            if self._checkpoints and at.step % self._checkpoints.every_steps == 0:
                self._write(self._checkpoints)

    def _step(self, rows: Sequence[int]) -> Callable[[float], StepRecord]:
        """Do one step, and return what makes its record of the seconds it took."""
        at = self._at
        loss = self._stepper.gradients(rows)
        if not math.isfinite(loss):
            raise explain_no_number(loss, at.step + 1, *self._stepper.named(rows))
        self._watch.see(loss, at.step + 1)
        rates = [self._course.rate(at.epoch, at.done, len(at.batches), layer.depth) for layer in self._stepper.layers]
        # The norm of a gradient in shards takes all processes, and only the first has observers.
        norms = self._stepper.update(rates, with_norms=bool(self._observers) or self._processes.sharded)
        if self._ema:
            self._ema.add()
        at.done, at.step, at.loss, at.rows = at.done + 1, at.step + 1, at.loss + loss * len(rows), at.rows + len(rows)
        named = {layer.name: rate for layer, rate in zip(self._stepper.layers, rates, strict=True)}
        return lambda seconds: StepRecord(
            step=at.step,
            epoch=at.epoch,
            loss=loss,
            learning_rates={layer.name: named[layer.name] for layer in self._stepper.trained},
            grad_norms=norms,
            rows=len(rows),
            seconds=seconds,
        )

    def _judge_epoch(self) -> None:
        """Look at the valid split, keep the weights if they are the best, and tell."""
        at, started = self._at, time.monotonic()
        with self._ema.standing_in() if self._ema else nullcontext():
            loss, values = self._score()
            watched = watched_score(self._network.task, values)
            if is_best := self._best.beaten_by(watched, loss):
                self._best.keep(at.epoch, watched, loss, values, self._weights())
        if self._swa and self._course.averages(at.epoch):
            self._swa.add()
        at.epoch_s += time.monotonic() - started
        record = EpochRecord(
            epoch=at.epoch,
            epochs=self._course.epochs,
            train_loss=at.loss / at.rows,
            valid_loss=loss,
            metrics=values,
            watched=watched,
            is_best=is_best,
            rows_per_s=at.rows / max(at.training_s, 1e-9),
            seconds=at.epoch_s,
        )
        for observer in self._observers:
            observer.on_epoch(record)

    def _finish(self) -> dict[str, float]:
        """Give the network its final weights, and return their metrics on the valid split."""
        if self._swa is None:
            put_weights(self._network, self._best.weights)
            self._network.eval()
            return self._best.values
        with self._swa.standing_in():
            set_training_mode(self._network)
            with update_batch_norms(self._network) as measured:
                for rows in self._at.batches if measured else ():
                    self._stepper.look_at(rows)
            _, values = self._score()
            averaged = self._weights()
        put_weights(self._network, averaged)
        return values

    def _score(self) -> tuple[float, dict[str, float]]:
        """Judge the network as it is; what the first process finds is what all of them go by."""
        if self._processes.count > 1:
            for buffer in self._network.buffers():
                buffer.copy_(self._processes.agreed(buffer))
        loss, values = score(self._network, self._valid, self._at.epoch)
        found = self._processes.agreed(torch.tensor([loss, *values.values()], dtype=torch.float64)).tolist()
        return found[0], dict(zip(values, found[1:], strict=True))

    def _weights(self) -> dict[str, Tensor]:
        return changing_weights(self._network, self._stepper.layers)

    def _elapsed_s(self) -> float:
        return self._before_s + time.monotonic() - self._began_s

    def _identity(self, checkpoints: Checkpoints) -> dict[str, object]:
        recipe = self._recipe.model_dump(mode="json")
        return {"key": checkpoints.key, "recipe": recipe, "processes": self._processes.count}

    def _write(self, checkpoints: Checkpoints) -> None:
        parts = {
            "weights": State(tensors=self._weights()),
            "optimizer": self._stepper.state(),
            "precision": self._stepper.precision.state(),
            "best": self._best.state(),
            "watch": self._watch.state(),
            "at": self._at.state(),
            "random": self._random_state(),
            "time": State(values={"elapsed_s": self._elapsed_s()}),
        }
        parts |= {name: average.state() for name, average in self._averages().items()}
        whole = self._processes.gather(State.join(parts))
        if self._processes.rank == 0:
            write_checkpoint(checkpoints, whole, step=self._at.step, identity=self._identity(checkpoints))

    def _resume(self) -> None:
        found = self._checkpoints and self._read(self._checkpoints)
        if not found:
            return
        put_weights(self._network, found.part("weights").tensors)
        self._stepper.restore(found.part("optimizer"))
        self._stepper.precision.restore(found.part("precision"))
        self._best.restore(found.part("best"))
        self._watch.restore(found.part("watch"))
        self._at = _Position.restored(found.part("at"))
        self._before_s = found.part("time").values["elapsed_s"]
        for name, average in self._averages().items():
            average.restore(found.part(name))
        self._put_random_state(found.part("random"))

    def _read(self, checkpoints: Checkpoints) -> State | None:
        """Return the state that this process goes on from. The first deletes what is of no use before others look."""
        identity, rank = self._identity(checkpoints), self._processes.rank
        found = read_checkpoint(checkpoints, identity=identity) if rank == 0 else None
        self._processes.agreed(torch.zeros(1))
        if rank:
            found = read_checkpoint(checkpoints, identity=identity)
        return found and self._processes.spread(found)

    def _averages(self) -> dict[str, Average]:
        return {name: each for name, each in (("ema", self._ema), ("swa", self._swa)) if each}

    def _random_state(self) -> State:
        """Return torch's random states, the processes' one after the other; nothing draws from any other generator."""
        states = {"cpu": torch.get_rng_state()}
        if device_of(self._network).type == "cuda":
            states["cuda"] = torch.cuda.get_rng_state(device_of(self._network))
        gathered = {name: self._processes.gathered(state) for name, state in states.items()}
        return State(
            tensors={f"{name}/{rank}": each for name, found in gathered.items() for rank, each in enumerate(found)}
        )

    def _put_random_state(self, state: State) -> None:
        rank = self._processes.rank
        torch.set_rng_state(state.tensors[f"cpu/{rank}"])
        if f"cuda/{rank}" in state.tensors:
            torch.cuda.set_rng_state(state.tensors[f"cuda/{rank}"], device_of(self._network))
