"""The tiny zoo with every stage as TorchScript too; a module of its own, because it imports torch."""

import io
import warnings
from pathlib import Path

import torch
from torch import Tensor

from tests.support.tiny_zoo import ANSWERS, Network, TinyZoo, add_network, make_tiny_zoo, path_of
from zoo import Zoo

__all__ = ["make_traced_zoo"]


def make_traced_zoo(folder: Path) -> TinyZoo:
    """Make the zoo of ``make_tiny_zoo``, with both forms of every stage."""
    with Zoo.open(folder, create=True) as zoo:
        for head in ANSWERS:
            for network in path_of(head, 0):
                add_network(zoo, network, torchscript=torchscript_bytes(network))
    return make_tiny_zoo(folder)


def torchscript_bytes(network: Network) -> bytes:
    """Trace the same network, written in torch."""
    examples = {"ids_NT": torch.ones(2, 3, dtype=torch.int64), "mask_NT": torch.ones(2, 3, dtype=torch.int64)}
    examples["tokens_NTD"] = torch.ones(2, 3, 8)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # upstream has deprecated TorchScript
        traced = torch.jit.trace(InTorch(network), tuple(examples[spec.name] for spec in network.inputs))  # type: ignore[no-untyped-call]  # torch.jit has no types
        torch.jit.save(traced, buffer)
    return buffer.getvalue()


class InTorch(torch.nn.Module):
    """A network of the tiny zoo; what its ONNX nodes hold says which one it is."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.names = [spec.name for spec in network.inputs]
        self.operators = {node.op_type for node in network.nodes}
        self.weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}

    def forward(self, *inputs: Tensor) -> tuple[Tensor]:
        given = dict(zip(self.names, inputs, strict=True))
        if "Gather" in self.operators:
            return (torch.nn.functional.embedding(given["ids_NT"], self.weights["table"]) * self.mask(given),)
        tokens_NTD = given["tokens_NTD"]
        if "Tanh" in self.operators:
            return (torch.tanh((tokens_NTD + self.mean(given)) @ self.weights["matrix"]),)
        if "Squeeze" not in self.operators:
            return (torch.softmax(tokens_NTD @ self.weights["matrix"], -1),)
        logits_NC = self.mean(given)[:, 0] @ self.weights["matrix"]
        scores_NC = torch.softmax(logits_NC, -1) if "Softmax" in self.operators else torch.sigmoid(logits_NC)
        return (scores_NC * self.weights["scale"],)

    def mask(self, given: dict[str, Tensor]) -> Tensor:
        return given["mask_NT"].unsqueeze(-1).to(torch.float32)

    def mean(self, given: dict[str, Tensor]) -> Tensor:
        mask_NT1 = self.mask(given)
        return (given["tokens_NTD"] * mask_NT1).sum(1, keepdim=True) / mask_NT1.sum(1, keepdim=True)
