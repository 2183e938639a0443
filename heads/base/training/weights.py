"""The weights that training changes, and which parts of a network are in training mode."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from torch import Tensor, nn

from heads.base.network import Layer, Network

__all__ = ["changing_weights", "is_batch_norm", "let_go", "put_weights", "set_training_mode", "trained_layers"]


def trained_layers(network: Network) -> list[Layer]:
    """Return the network's layers with those of their parameters that are to be trained, from the head down."""
    layers = (
        replace(layer, parameters=tuple(each for each in layer.parameters if each.requires_grad))
        for layer in network.layers()
    )
    found = sorted((layer for layer in layers if layer.parameters), key=lambda layer: layer.depth)
    assert found, "a network has something to train"
    assert sorted({layer.depth for layer in found}) == list(range(found[-1].depth + 1)), "depths have no gaps"
    return found


def let_go(layers: Sequence[Layer], depth: int) -> None:
    """Make layers down to a depth trainable, and freeze those below."""
    for layer in layers:
        for parameter in layer.parameters:
            parameter.requires_grad_(layer.depth <= depth)


def set_training_mode(network: nn.Module) -> None:
    """Put a network in training mode, but for every part none of whose parameters is trained.

    A part that is frozen then computes as it will when it is served: without drop-out, and with batch-norm
    statistics that don't move.
    """
    network.train()
    for part in network.modules():
        weights = list(part.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            part.eval()


def is_batch_norm(part: nn.Module) -> bool:
    """Whether a part is a batch norm, of any number of dimensions."""
    return isinstance(part, nn.modules.batchnorm._BatchNorm)


def changing_weights(network: Network, layers: Sequence[Layer]) -> dict[str, Tensor]:
    """Return copies of what training changes, by name: the layers' parameters, and every buffer."""
    trained = {id(parameter) for layer in layers for parameter in layer.parameters}
    state = network.state_dict(keep_vars=True)
    return {
        name: tensor.detach().clone()
        for name, tensor in state.items()
        if not isinstance(tensor, nn.Parameter) or id(tensor) in trained
    }


def put_weights(network: Network, weights: Mapping[str, Tensor]) -> None:
    """Give a network weights that ``changing_weights`` returned; the others stay."""
    unknown = network.load_state_dict(dict(weights), strict=False).unexpected_keys
    assert not unknown, f"weights of another network: {', '.join(unknown)}"
