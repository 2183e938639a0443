"""One process, or several that ``torchrun`` started and that train one network together."""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from heads.base.errors import TrainingFailed

__all__ = ["OneProcess", "Processes", "processes_for"]


class Processes(Protocol):
    """What the loop asks of the processes that share its work. All of them call the same things in the same order."""

    rank: int
    count: int

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
    """Processes that accelerate has joined: gloo on CPUs, NCCL on GPUs."""

    def __init__(self, device: torch.device) -> None:
        from accelerate import Accelerator  # type: ignore[import-untyped] # it ships no types

        # What mixed precision needs is in `Precision`: accelerate holds one setting of it for the whole process.
        self._accelerator = Accelerator(cpu=device.type == "cpu", mixed_precision="no")
        check_data_parallel(self._accelerator.distributed_type.value)
        self._device = device
        self.rank = self._accelerator.process_index
        self.count = self._accelerator.num_processes

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


def check_data_parallel(kind: str) -> None:
    """Check how accelerate was set up, which its configuration and environment say too.

    Args:
        kind: accelerate's name for it.

    Raises:
        TrainingFailed: the network would be sharded.
    """
    if kind not in ("MULTI_CPU", "MULTI_GPU"):
        raise TrainingFailed(
            f"accelerate is set up for {kind}; heads train in data-parallel processes, each with the whole network. "
            "Start them with torchrun, or with accelerate launch without --use_fsdp and --use_deepspeed."
        )


def processes_for(device: torch.device) -> Processes:
    """Return the processes that train together: those that ``torchrun`` started, or this one alone.

    Args:
        device: where this process's network is.

    Raises:
        TrainingFailed: accelerate is set up to shard the network.
    """
    return _Accelerated(device) if int(os.environ.get("WORLD_SIZE", "1")) > 1 else OneProcess()
