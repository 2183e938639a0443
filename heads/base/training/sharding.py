"""Networks whose weights processes share out: torch's FSDP (``fully_shard``), and tensors into shards and back.

Zhao et al. 2023, "PyTorch FSDP". Each process holds a part of every weight, of its gradient and of what the optimiser
keeps of it. A unit's weights are gathered when it runs, forward and backward, and let go afterwards.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, Shard, distribute_tensor

from heads.base.network import Layer, Network
from heads.base.training.state import State

__all__ = ["gathered", "share_out", "shared_out", "synchronize"]

_SHARDED = "sharded"


def share_out(network: Network, layers: Sequence[Layer], mesh: DeviceMesh) -> list[Layer]:
    """Share out a network's weights in place, unit by unit; they move to the mesh's device.

    Args:
        network: equal in all processes.
        layers: of it.
        mesh: the processes, in one dimension.

    Returns:
        The layers, with the parameters that the network has now.
    """
    names = {id(weight): name for name, weight in network.named_parameters()}
    for unit in (*network.units(), network):
        # The network too lets go what it gathered: averages and chosen weights are put in the shards between two runs.
        fully_shard(unit, mesh=mesh, reshard_after_forward=True)
    register_fsdp_forward_method(network, "logits")
    shards = dict(network.named_parameters())
    return [
        replace(layer, parameters=tuple(shards[names[id(weight)]] for weight in layer.parameters)) for layer in layers
    ]


def synchronize(network: nn.Module, wanted: bool) -> None:
    """Say whether backward passes add gradients up over the processes, or keep them in this one for now."""
    assert isinstance(network, FSDPModule), "the network is shared out"
    network.set_requires_gradient_sync(wanted)


def gathered(state: State, *, keep: bool) -> State:
    """Return a state with whole tensors on the CPU; all processes call this with the same names.

    Args:
        state: with shards.
        keep: whether this process wants the tensors, or only takes part.
    """
    shards = sorted(name for name, tensor in state.tensors.items() if isinstance(tensor, DTensor))
    tensors = {name: tensor for name, tensor in state.tensors.items() if keep and not isinstance(tensor, DTensor)}
    for name in shards:
        whole = state.tensors[name].detach().full_tensor()  # type: ignore[attr-defined] # it is a DTensor
        if keep:
            tensors[name] = whole.cpu()
    return State(tensors=tensors, values={**state.values, _SHARDED: shards})


def shared_out(state: State, mesh: DeviceMesh) -> State:
    """Return a state that ``gathered`` made with shards in the place of what was one; each process has the whole."""
    tensors: dict[str, Tensor] = dict(state.tensors)
    for name in state.values[_SHARDED]:
        whole = tensors[name].to(torch.device(mesh.device_type))
        # A copy: the shard would keep the memory of the whole.
        tensors[name] = distribute_tensor(whole, mesh, [Shard(0)], src_data_rank=None).clone()
    return State(tensors=tensors, values=state.values)
