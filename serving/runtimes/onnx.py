"""The default runtime: ONNX Runtime, on the CPU or on a CUDA device."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import Any
from weakref import WeakValueDictionary

import onnxruntime
from onnxruntime import InferenceSession, SessionOptions

from serving.errors import DeviceUnavailable, StageFailed
from serving.groups import Member
from serving.runtimes.base import Arrays, DeviceTensors, Lanes, choose_lanes
from serving.runtimes.cores import step_back, usable_cores
from serving.runtimes.devices import choose_device, count_cuda_devices, cuda_index
from serving.runtimes.gather import gather_model
from serving.runtimes.onnx_arena import share_arena
from serving.runtimes.onnx_group import WEIGHT, OnnxGroup
from serving.runtimes.onnx_memory import ELEMENT_NAMES, DeviceMemory, HostMemory, Memory
from zoo.errors import InvalidConfig
from zoo.manifest import Format, StageManifest, TensorSpec

__all__ = ["OnnxExecutable", "OnnxRuntime"]

_CUDA = "CUDAExecutionProvider"
_CPU = "CPUExecutionProvider"
_ERRORS_ONLY = 3
_CORES = usable_cores()

SMALL_PARAMETERS = 100_000
"""Up to so many a stage computes faster than its work is handed to other threads, so it gets none."""


class OnnxExecutable:
    """A session, fed by name."""

    def __init__(self, session: InferenceSession, stage: StageManifest, memory: Memory) -> None:
        self._session = session
        self._memory = memory
        self._inputs = [spec.name for spec in stage.inputs]
        self._outputs = [spec.name for spec in stage.outputs]
        self._graph_outputs = list(stage.graph_outputs)

    def __call__(self, tensors: DeviceTensors) -> DeviceTensors:
        """Run the stage; see ``Executable``."""
        feeds = {name: tensors[name] for name in self._inputs}
        results = self._memory.run(self._session, feeds, self._graph_outputs)
        return dict(zip(self._outputs, results, strict=True))


class OnnxRuntime:
    """Runs ONNX stages; see ``Runtime``.

    On the CPU tensors are NumPy arrays, used where they lie. On a CUDA device they stay there from the first stage to
    the last; float32 is computed as float32 (no TF32), so that answers stay within the tolerance of their parity.

    Each stage has a pool of threads of its own, which sleep while they wait, so that several batches can run side by
    side; a small stage has none, and runs on the thread that calls it.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:<index>``.
        threads: of each stage's pool, the calling one included.
        lanes: how many batches run side by side.

    Raises:
        InvalidConfig: an unknown device name, no threads or no lanes.
        DeviceUnavailable: a CUDA device that is asked for, or found, cannot be used.
    """

    name = "onnx"
    format: Format = "onnx"

    def __init__(self, device: str = "auto", *, threads: int = _CORES, lanes: Lanes = "auto") -> None:
        if threads < 1:
            raise InvalidConfig(f"At least one thread computes; got {threads}.")
        offered = _CUDA in onnxruntime.get_available_providers()
        unusable = "" if offered else "this onnxruntime is built without CUDA; onnxruntime-gpu has it"
        self.device = choose_device(device, count_cuda_devices(), unusable)
        self.lanes = choose_lanes(lanes, self.device)
        self.inline = self.device == "cpu"
        self._threads = threads
        self._memory: Memory = HostMemory()
        self._lock = Lock()
        self._groups: WeakValueDictionary[str, OnnxGroup] = WeakValueDictionary()
        """By the digest of their graph, as long as a head of theirs is loaded."""
        if self.device != "cpu":
            self._try_cuda()
            self._memory = DeviceMemory("cuda", cuda_index(self.device), self._session)

    def load(self, stage: StageManifest, artifact: bytes) -> OnnxExecutable:
        """Load a stage from the bytes of its ONNX model; see ``Runtime``."""
        small = stage.parameters <= SMALL_PARAMETERS
        session = self._load(stage, artifact, threads=1 if small else self._threads)
        _check_declared(stage, "input", [spec.name for spec in stage.inputs], stage.inputs, session.get_inputs())
        _check_declared(stage, "output", stage.graph_outputs, stage.outputs, session.get_outputs())
        return OnnxExecutable(session, stage, self._memory)

    def load_member(self, stage: StageManifest, read: Callable[[str], bytes]) -> Member:
        """Load a head that can run together with others of its graph; see ``Runtime``."""
        graph = stage.artifacts["onnx-group"].blob
        with self._lock:
            group = self._groups.get(graph)
            if group is None:
                group = OnnxGroup(self._load(stage, read(graph), threads=1), stage, self._memory)
                self._groups[graph] = group
        _check_member(stage, group.session)
        return group.join(stage, read(stage.weights))

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        """See ``Runtime``."""
        return self._memory.to_device(arrays)

    def take(self, tensors: DeviceTensors, rows: Sequence[int]) -> DeviceTensors:
        """See ``Runtime``."""
        return self._memory.take(tensors, rows)

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        """See ``Runtime``."""
        return self._memory.to_host(tensors)

    def _load(self, stage: StageManifest, artifact: bytes, *, threads: int) -> InferenceSession:
        try:
            return self._session(artifact, threads)
        except DeviceUnavailable:
            raise
        except Exception as error:  # ONNX Runtime has a class per status code, and no common one of its own
            raise StageFailed(
                f"Stage {stage.name!r} ({stage.digest}) does not load in ONNX Runtime "
                f"{onnxruntime.__version__}: {error}"
            ) from error

    def _try_cuda(self) -> None:
        """Say now, and not at the first stage, that CUDA does not work."""
        onnxruntime.preload_dlls()  # finds the CUDA and cuDNN libraries that pip installed
        try:
            self._session(gather_model("float32"))
        except DeviceUnavailable:
            raise
        except Exception as error:
            raise DeviceUnavailable(f"Device {self.device} cannot be used: {error}") from error

    def _session(self, model: bytes, threads: int = 1) -> InferenceSession:
        options = SessionOptions()
        options.intra_op_num_threads = threads
        # A pool that spins while it waits takes the cores from the sessions that work.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if self.device == "cpu":
            share_arena(options)
        options.log_severity_level = _ERRORS_ONLY
        # Without this ONNX Runtime would go on with the CPU where a CUDA device fails, when loading or in a run.
        make = partial(InferenceSession, model, options, providers=self._providers(), enable_fallback=0)
        with ThreadPoolExecutor(1, initializer=step_back) as background:  # the threads of its pool stand back too
            session = background.submit(make).result()
        session._model_bytes = None  # it would keep them to load again, which nobody asks: as many bytes as the stage
        found = session.get_providers()
        if self.device != "cpu" and found[0] != _CUDA:
            raise DeviceUnavailable(
                f"Device {self.device} cannot be used: ONNX Runtime {onnxruntime.__version__} fell back to "
                f"{found[0]}, most likely because CUDA or cuDNN libraries are missing or of another major version (it "
                "says which above). Install those that it names, or serve with --device cpu."
            )
        return session

    def _providers(self) -> list[Any]:
        if self.device == "cpu":
            return [_CPU]
        options = {
            "device_id": str(cuda_index(self.device)),
            "use_tf32": "0",
            # Searching the fastest convolution anew for every batch shape takes longer than most batches.
            "cudnn_conv_algo_search": "HEURISTIC",
            # Many small sessions share the device: grow by what is needed, not by doubling.
            "arena_extend_strategy": "kSameAsRequested",
        }
        return [(_CUDA, options), _CPU]


def _check_member(stage: StageManifest, session: InferenceSession) -> None:
    """Check that a graph for several heads takes what ``stage`` declares, and gives it with an axis of heads."""
    inputs = [node for node in session.get_inputs() if not node.name.startswith(WEIGHT)]
    heads_first = [spec.model_copy(update={"shape": ("N", *spec.shape)}) for spec in stage.outputs]
    _check_declared(stage, "input", [spec.name for spec in stage.inputs], stage.inputs, inputs)
    _check_declared(stage, "output", stage.graph_outputs, heads_first, session.get_outputs())


def _check_declared(
    stage: StageManifest, what: str, names: Sequence[str], specs: Sequence[TensorSpec], found: Sequence[Any]
) -> None:
    declared = {name: _describe(spec.dtype, spec.shape) for name, spec in zip(names, specs, strict=True)}
    real = {node.name: _describe(ELEMENT_NAMES.get(node.type, node.type), node.shape) for node in found}
    if declared != real:
        raise StageFailed(
            f"Stage {stage.name!r} ({stage.digest}) has other {what}s than its manifest declares: "
            f"found {_list(real)}; declared {_list(declared)}. Export and publish it again."
        )


def _describe(dtype: str, shape: Sequence[int | str | None]) -> str:
    """Describe a tensor without the names of its dynamic axes, which mean nothing to ONNX Runtime.

    >>> _describe("float32", ("N", 3, None))
    'float32 (?, 3, ?)'
    """
    return f"{dtype} ({', '.join(str(axis) if isinstance(axis, int) else '?' for axis in shape)})"


def _list(tensors: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in tensors.items())
