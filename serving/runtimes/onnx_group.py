"""Several heads of one architecture in one ONNX Runtime session, their weights among its inputs."""

from collections import OrderedDict
from collections.abc import Sequence
from threading import Lock
from typing import Any

import numpy as np
from onnxruntime import InferenceSession
from safetensors import SafetensorError
from safetensors.numpy import load as load_weights

from serving.errors import StageFailed
from serving.groups import Member
from serving.runtimes.base import Arrays, DeviceTensors
from serving.runtimes.onnx_memory import ELEMENT_NAMES, Memory
from zoo.manifest import StageManifest

__all__ = ["WEIGHT", "OnnxGroup"]

WEIGHT = "weight:"
"""What stands before a weight's name where it is an input of the graph."""

KEPT_SETS = 64
KEPT_BYTES = 32 * 2**20
"""For how many sets of heads the stacked weights are kept, and what they may take together."""


class OnnxGroup:
    """A graph for several heads at once; see ``serving.groups.Group``. Safe to run from several lanes.

    Args:
        session: the loaded graph.
        stage: one of its heads; they all declare the same tensors.
        memory: where its tensors lie.
    """

    def __init__(self, session: InferenceSession, stage: StageManifest, memory: Memory) -> None:
        self.session = session
        self._memory = memory
        self._inputs = [spec.name for spec in stage.inputs]
        self._outputs = [spec.name for spec in stage.outputs]
        self._graph_outputs = list(stage.graph_outputs)
        self._weights = {
            node.name: (ELEMENT_NAMES.get(node.type, node.type), list(node.shape[1:]))
            for node in session.get_inputs()
            if node.name.startswith(WEIGHT)
        }
        self._lock = Lock()
        self._stacked: OrderedDict[tuple[str, ...], tuple[DeviceTensors, int]] = OrderedDict()
        self._stacked_bytes = 0

    def join(self, stage: StageManifest, data: bytes) -> Member:
        """Make a head of the group.

        Args:
            stage: its manifest.
            data: its weights, as safetensors.

        Raises:
            StageFailed: they do not parse, or are not the weights that the graph takes.
        """
        try:
            weights = {f"{WEIGHT}{name}": array for name, array in load_weights(data).items()}
        except SafetensorError as error:
            raise StageFailed(f"The weights of stage {stage.name!r} ({stage.digest}) do not load: {error}") from error
        found = {name: (str(array.dtype), list(array.shape)) for name, array in weights.items()}
        if found != self._weights:
            raise StageFailed(
                f"Stage {stage.name!r} ({stage.digest}) has other weights than its graph for several heads takes: "
                f"found {found}; expected {self._weights}. Export and publish it again."
            )
        return Member(self, stage.digest, weights)

    def run(self, members: Sequence[Member], tensors: DeviceTensors) -> Arrays:
        """Run several heads on the same rows; see ``Group``."""
        return self._memory.to_host(self._run(members, tensors))

    def alone(self, member: Member, tensors: DeviceTensors) -> DeviceTensors:
        """Run one head; see ``Group``."""
        results = self._memory.to_host(self._run((member,), tensors))
        return self._memory.to_device({name: array[0] for name, array in results.items()})

    def _run(self, members: Sequence[Member], tensors: DeviceTensors) -> DeviceTensors:
        feeds = {**self._weights_of(members), **{name: tensors[name] for name in self._inputs}}
        results = self._memory.run(self.session, feeds, self._graph_outputs)
        return dict(zip(self._outputs, results, strict=True))

    def _weights_of(self, members: Sequence[Member]) -> DeviceTensors:
        """Return the weights of these heads, stacked, on the device; those of a repeated set are there already."""
        key = tuple(member.stage_digest for member in members)
        with self._lock:
            if found := self._stacked.get(key):
                self._stacked.move_to_end(key)
                return found[0]
        arrays: dict[str, Any] = {
            name: np.stack([member.weights[name] for member in members]) for name in self._weights
        }
        size = sum(array.nbytes for array in arrays.values())
        stacked = self._memory.to_device(arrays)
        with self._lock:
            if key not in self._stacked and size <= KEPT_BYTES:
                self._stacked[key] = (stacked, size)
                self._stacked_bytes += size
            while len(self._stacked) > KEPT_SETS or self._stacked_bytes > KEPT_BYTES:
                _, (_, freed) = self._stacked.popitem(last=False)
                self._stacked_bytes -= freed
        return stacked
