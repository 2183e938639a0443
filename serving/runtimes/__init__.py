"""What runs a network: loads stages, and runs them on one device.

``open_runtime`` opens one of the two runtimes by name: ``onnx``, the default, and ``torchscript``, which needs
torch. Both keep the ``Runtime`` protocol of ``serving.runtimes.base`` and give the same answers. Importing this
package imports neither onnxruntime nor torch.
"""

from difflib import get_close_matches

from serving.runtimes.base import Arrays, DeviceTensors, Executable, Lanes, Runtime
from serving.runtimes.cores import usable_cores
from zoo.errors import InvalidConfig

__all__ = ["RUNTIMES", "Arrays", "DeviceTensors", "Executable", "Lanes", "Runtime", "open_runtime", "usable_cores"]

RUNTIMES = ("onnx", "torchscript")
"""The names of the runtimes, the default first."""

_CORES = usable_cores()


def open_runtime(name: str = "onnx", device: str = "auto", *, threads: int = _CORES, lanes: Lanes = "auto") -> Runtime:
    """Open a runtime.

    Args:
        name: ``onnx`` or ``torchscript``.
        device: ``cpu``, ``cuda:0``, or ``auto``: a CUDA device if the machine has one, else the CPU.
        threads: how many threads compute one stage on the CPU; by default as many as this process may use.
        lanes: how many batches run side by side; by default one a core up to four on the CPU, and one on a GPU.

    Raises:
        InvalidConfig: no such runtime or device name, torch is not installed, or no threads or lanes are asked for.
        DeviceUnavailable: the device cannot be used; nothing falls back to another one.
    """
    if name == "onnx":
        from serving.runtimes.onnx import OnnxRuntime

        return OnnxRuntime(device, threads=threads, lanes=lanes)
    if name == "torchscript":
        return _open_torchscript(device, threads, lanes)
    close = get_close_matches(name, RUNTIMES, n=1, cutoff=0.3)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise InvalidConfig(f"No runtime is called {name!r}; there are {' and '.join(RUNTIMES)}.{hint}")


def _open_torchscript(device: str, threads: int, lanes: Lanes) -> Runtime:
    try:
        from serving.runtimes.torchscript import TorchScriptRuntime
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise InvalidConfig(
            "The torchscript runtime needs torch, which is not installed. "
            "`pip install hydrazoo-platform[torchscript]` installs it; the onnx runtime does without."
        ) from error
    return TorchScriptRuntime(device, threads=threads, lanes=lanes)
