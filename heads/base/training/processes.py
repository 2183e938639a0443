"""One process, or several that ``torchrun`` started and that train one network together."""

import os
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from heads.base.errors import TrainingFailed
from heads.base.launch import launched
from heads.base.network import Layer, Network
from heads.base.training.state import State

__all__ = ["OneProcess", "Processes", "choose_device", "processes_for"]


class Processes(Protocol):
    """What the loop asks of the processes that share its work. All of them call the same things in the same order."""

    rank: int
    count: int
    sharded: bool

    def place(self, network: Network, layers: Sequence[Layer]) -> list[Layer]:
        """Put the network where it trains, and return its layers with the parameters that it has now."""
        ...

    def gather(self, state: State, *, everywhere: bool = False) -> State:
        """Return a state with whole tensors, in the first process or in all; in the others without what was shared."""
        ...

    def spread(self, state: State) -> State:
        """Return a state that ``gather`` made as this process holds it."""
        ...

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return a module whose gradients are means over the processes."""
        ...

    def local(self, module: nn.Module) -> AbstractContextManager[None]:
        """Keep gradients of the body to this process; for all parts of a batch but the last."""
        ...

    def total(self, value: Tensor) -> Tensor:
        """Return the sum of a tensor over the processes."""
        ...

    def agreed(self, value: Tensor) -> Tensor:
        """Return the first process's tensor."""
        ...

    def gathered(self, value: Tensor) -> list[Tensor]:
        """Return the tensor of every process, in the order of their ranks."""
        ...


class OneProcess:
    """Nobody to share with."""

    rank = 0
    count = 1
    sharded = False

    def place(self, network: Network, layers: Sequence[Layer]) -> list[Layer]:  # noqa: ARG002 - it stays where it is
        """Return the layers."""
        return list(layers)

    def gather(self, state: State, *, everywhere: bool = False) -> State:  # noqa: ARG002 - it is whole
        """Return the state."""
        return state

    def spread(self, state: State) -> State:
        """Return the state."""
        return state

    def wrap(self, module: nn.Module) -> nn.Module:
        """Return the module."""
        return module

    def local(self, module: nn.Module) -> AbstractContextManager[None]:  # noqa: ARG002 - nobody to keep them from
        """Do nothing."""
        return nullcontext()

    def total(self, value: Tensor) -> Tensor:
        """Return the tensor."""
        return value

    def agreed(self, value: Tensor) -> Tensor:
        """Return the tensor."""
        return value

    def gathered(self, value: Tensor) -> list[Tensor]:
        """Return the tensor alone."""
        return [value]


class _Accelerated:
    """Processes that accelerate has joined, each with the whole network: gloo on CPUs, NCCL on GPUs."""

    sharded = False

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator  # type: ignore[import-untyped] # it ships no types

        # What mixed precision needs is in `Precision`: accelerate holds one setting of it for the whole process.
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        check_data_parallel(self._accelerator.distributed_type.value)
        self._device = device
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes

    def place(self, network: Network, layers: Sequence[Layer]) -> list[Layer]:  # noqa: ARG002 - `wrap` does it
        return list(layers)

    def gather(self, state: State, *, everywhere: bool = False) -> State:  # noqa: ARG002 - each has all
        return state

    def spread(self, state: State) -> State:
        return state

    def wrap(self, module: nn.Module) -> nn.Module:
        self._accelerator.free_memory()  # lets go what was wrapped before
        wrapped: nn.Module = self._accelerator.prepare_model(module)
        return wrapped

    @contextmanager
    def local(self, module: nn.Module) -> Iterator[None]:
        with self._accelerator.no_sync(module):
            yield

    def total(self, value: Tensor) -> Tensor:
        summed = value.detach().to(self._device)
        torch.distributed.all_reduce(summed)
        return summed

    def agreed(self, value: Tensor) -> Tensor:
        first = value.detach().to(self._device).clone()
        torch.distributed.broadcast(first, src=0)
        return first.to(value.device)

    def gathered(self, value: Tensor) -> list[Tensor]:
        own = value.detach().to(self._device)
        found = [torch.empty_like(own) for _ in range(self.count)]
        torch.distributed.all_gather(found, own)
        return [each.to(value.device) for each in found]


class _Sharded(_Accelerated):
    """Processes that share out the weights of one network."""

    sharded = True

    def __init__(self, device: torch.device) -> None:
        from torch.distributed.device_mesh import init_device_mesh

        super().__init__(device)
        self._mesh = init_device_mesh(device.type, (self.count,))

    def place(self, network: Network, layers: Sequence[Layer]) -> list[Layer]:
        from heads.base.training.sharding import share_out

        self._network = network
        return share_out(network, layers, self._mesh)

    def gather(self, state: State, *, everywhere: bool = False) -> State:
        from heads.base.training.sharding import gathered

        return gathered(state, keep=everywhere or self.rank == 0)

    def spread(self, state: State) -> State:
        from heads.base.training.sharding import shared_out

        return shared_out(state, self._mesh)

    def wrap(self, module: nn.Module) -> nn.Module:
        return module

    @contextmanager
    def local(self, module: nn.Module) -> Iterator[None]:  # noqa: ARG002 - the network within it is asked
        from heads.base.training.sharding import synchronize

        synchronize(self._network, False)
        yield
        synchronize(self._network, True)


def check_data_parallel(kind: str) -> None:
    """Check how accelerate was set up, which its configuration and environment say too.

    Args:
        kind: accelerate's name for it.

    Raises:
        TrainingFailed: the network would be sharded.
    """
    if kind not in ("MULTI_CPU", "MULTI_GPU"):
        raise TrainingFailed(
            f"accelerate is set up for {kind}; expected processes that are joined and nothing more. Start them with "
            "torchrun, or with accelerate launch without --use_fsdp and --use_deepspeed. To share out the weights of a "
            "tail, set sharded = true in recipe.toml."
        )


def choose_device() -> None:
    """Make the GPU that ``torchrun`` means for this process its current one."""
    if launched().count > 1 and torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))


def processes_for(device: torch.device, *, sharded: bool = False) -> Processes:
    """Return the processes that train together: those that ``torchrun`` started, or this one alone.

    Args:
        device: where this process's network is.
        sharded: share out its weights, on GPUs if there are any. One process keeps them all.

    Raises:
        TrainingFailed: accelerate is set up to shard the network itself.
    """
    if launched().count == 1:
        return OneProcess()
    if sharded:
        return _Sharded(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    return _Accelerated(device)
