"""One step of training: the gradient of a batch, in parts and over processes, and what the optimiser does with it."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn.utils import clip_grad_norm_, get_total_norm

from heads.base.network import Layer, Network
from heads.base.recipe import Recipe
from heads.base.tasks.losses import make_loss
from heads.base.training.checks import check_recipe
from heads.base.training.encoded import Batches, Encoded, cut
from heads.base.training.precision import Precision
from heads.base.training.processes import Processes
from heads.base.training.scoring import device_of
from heads.base.training.state import State
from heads.base.training.weights import is_batch_norm, let_go, set_training_mode, trained_layers

__all__ = ["Stepper"]


class Stepper:
    """Trains a network batch by batch.

    Args:
        network: what is trained.
        train: the train split.
        recipe: how to train.
        processes: who shares the work.

    Attributes:
        layers: what is trained, from the head down.
        parameters: of all the layers.

    Raises:
        InvalidRecipe: the recipe does not fit the network or its device.
    """

    def __init__(self, network: Network, train: Encoded, recipe: Recipe, processes: Processes) -> None:
        layers = trained_layers(network)
        check_recipe(recipe, network, layers, train, processes=processes.count)
        self.layers = processes.place(network, layers)
        self.parameters = [parameter for layer in self.layers for parameter in layer.parameters]
        self.precision = Precision(recipe, device_of(network))
        self.optimizer = _make_optimizer(self.layers, recipe)
        self._network = network
        self._batches = Batches(train, device_of(network))
        self._loss = make_loss(network.task, recipe, train.targets)
        self._recipe = recipe
        self._processes = processes
        self._depth = -1
        # A batch norm cannot train on one row.
        self._least = 2 if any(map(is_batch_norm, network.modules())) else 1
        self._forward: Callable[..., Tensor] = network.logits
        self._wrapped: nn.Module = network

    @property
    def trained(self) -> list[Layer]:
        """The layers that train now."""
        return [layer for layer in self.layers if layer.depth <= self._depth]

    def new_optimizer(self) -> None:
        """Forget what the optimiser has gathered."""
        self.optimizer = _make_optimizer(self.layers, self._recipe)

    def train_down_to(self, depth: int) -> None:
        """Train the layers down to a depth, and put the network in training mode as far as that."""
        if depth != self._depth:
            self.optimizer.zero_grad()
            let_go(self.layers, depth)
            self._depth = depth
            if self._processes.count > 1:
                self._wrapped = self._processes.wrap(_Logits(self._network))
                self._forward = self._wrapped
        set_training_mode(self._network)

    def shuffled(self) -> list[list[int]]:
        """Return the rows of the train split in batches, in random order and the same in every process."""
        rows = self._processes.agreed(torch.randperm(len(self._batches.data.rows)))
        least = self._least * self._processes.count if self._least > 1 else 1
        batches = self._batches.shuffled(rows.tolist(), max(least, self._recipe.batch_size), least)
        order = self._processes.agreed(torch.randperm(len(batches)))
        return [batches[index] for index in order.tolist()]

    def gradients(self, rows: Sequence[int]) -> float:
        """Compute the gradients of a batch, and return its loss. Gradients of a loss that is no number are useless."""
        self.optimizer.zero_grad()
        parts = self._parts(rows)
        total = torch.zeros(())
        for number, (part, share) in enumerate(parts, start=1):
            if number < len(parts):
                with self._processes.local(self._wrapped):
                    value = self._loss_of(part) * share
                    self.precision.backward(value)
            else:
                value = self._loss_of(part) * share
                self.precision.backward(value)
            total = value.detach() if len(parts) == 1 else total.to(value.device) + value.detach()
        return float(self._processes.total(total)) / self._processes.count

    def update(self, rates: Sequence[float], *, with_norms: bool = False) -> dict[str, float]:
        """Let the optimiser step.

        Args:
            rates: the learning rate of each layer.
            with_norms: whether anybody wants the norms.

        Returns:
            The L2 norm of each trained layer's gradient before it was clipped, by the layer's name.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rates[group["layer"]]
        self.precision.unscale(self.optimizer)
        norms = {layer.name: _gradient_norm(layer) for layer in self.trained} if with_norms else {}
        if self._recipe.clip_norm:
            clip_grad_norm_(self.parameters, self._recipe.clip_norm)
        self.precision.step(self.optimizer)
        return norms

    def look_at(self, rows: Sequence[int]) -> None:
        """Run rows through the network and keep nothing, as batch norms do when they are measured anew."""
        self._network.logits(*self._batches.inputs(rows))

    def named(self, rows: Sequence[int]) -> tuple[list[str], bool]:
        """Return the ids of the rows whose features are no numbers, and True; or of all of them, and False."""
        broken = self._batches.broken(rows)
        ids = self._batches.data.ids
        return [ids[row] for row in broken or rows] if ids else [], bool(broken)

    def state(self) -> State:
        """Return what a checkpoint keeps of the optimiser."""
        gathered = self.optimizer.state_dict()["state"]
        return State(tensors={f"{index}/{name}": each for index, own in gathered.items() for name, each in own.items()})

    def restore(self, state: State) -> None:
        """Give the optimiser what a checkpoint kept."""
        gathered: dict[int, dict[str, Tensor]] = {}
        for key, tensor in state.tensors.items():
            index, name = key.split("/")
            gathered.setdefault(int(index), {})[name] = tensor
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": gathered})

    def ends(self) -> None:
        """Leave the network as it was: all layers to be trained, and no gradients."""
        let_go(self.layers, self.layers[-1].depth)
        self.optimizer.zero_grad()

    def _parts(self, rows: Sequence[int]) -> list[tuple[Sequence[int], float]]:
        """Return this process's rows in parts, each with its share of the loss.

        Gradients are means over the processes, so shares are of this process's work, and add up to 1 over all.
        """
        processes, most = self._processes, self._recipe.accumulate
        if processes.count == 1 and min(most, len(rows)) == 1:
            return [(rows, 1.0)]
        parts = self._cut(rows, processes.rank)
        shares: list[tuple[Sequence[int], float]]
        if not parts:  # it still has to take part
            shares = [(rows[:1], 0.0)]
        else:
            whole = self._loss.weight(self._batches.targets(rows)) / processes.count
            shares = [(part, self._loss.weight(self._batches.targets(part)) / whole) for part in parts]
        if processes.sharded:  # each part gathers weights, which takes all processes
            most_parts = max(1, *(len(self._cut(rows, rank)) for rank in range(processes.count)))
            shares += [(rows[: self._least], 0.0)] * (most_parts - len(shares))
        return shares

    def _cut(self, rows: Sequence[int], rank: int) -> list[list[int]]:
        """Return the rows of a process in parts."""
        own = rows[rank :: self._processes.count]
        if not own:
            return []
        size = max(self._least, -(-len(own) // min(self._recipe.accumulate, len(own))))
        return cut(own, size, self._least)

    def _loss_of(self, rows: Sequence[int]) -> Tensor:
        inputs, targets = self._batches.inputs(rows), self._batches.targets(rows)
        if self._recipe.mixup:
            return self._mixed_loss(inputs[0], targets)
        return self._loss(self._logits(*inputs), targets)

    def _mixed_loss(self, vectors_ND: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of rows mixed in pairs, each with the targets of both (Zhang et al. 2018)."""
        share = float(torch.distributions.Beta(self._recipe.mixup, self._recipe.mixup).sample())
        others = torch.randperm(len(targets))
        logits = self._logits(share * vectors_ND + (1 - share) * vectors_ND[others])
        return share * self._loss(logits, targets) + (1 - share) * self._loss(logits, targets[others])

    def _logits(self, *inputs: Tensor) -> Tensor:
        with self.precision.computing():
            logits = self._forward(*inputs)
        return logits.float()


class _Logits(nn.Module):
    """A network as processes wrap it: called, it returns logits."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *reduced: Tensor) -> Tensor:
        return self.network.logits(*reduced)


def _make_optimizer(layers: Sequence[Layer], recipe: Recipe) -> torch.optim.AdamW:
    """Return AdamW with a learning rate for each layer, and no decay on biases and norms."""
    groups = []
    for index, layer in enumerate(layers):
        weights = [each for each in layer.parameters if each.ndim > 1]
        others = [each for each in layer.parameters if each.ndim <= 1]
        groups.append({"params": weights, "weight_decay": recipe.weight_decay, "layer": index})
        groups.append({"params": others, "weight_decay": 0.0, "layer": index})
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=recipe.learning_rate)


def _gradient_norm(layer: Layer) -> float:
    norm = get_total_norm([each.grad for each in layer.parameters if each.grad is not None])
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
