"""Device names, and which devices are there."""

import ctypes
import re

from serving.errors import DeviceUnavailable
from zoo.errors import InvalidConfig

__all__ = ["choose_device", "count_cuda_devices", "cuda_index"]


def count_cuda_devices() -> int:
    """Return how many CUDA devices the driver shows to this process; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int()
    works = driver.cuInit(0) == 0 and driver.cuDeviceGetCount(ctypes.byref(count)) == 0
    return count.value if works else 0


def cuda_index(device: str) -> int:
    """Return which CUDA device ``cuda:<index>`` names.

    >>> cuda_index("cuda:1")
    1
    """
    return int(device.removeprefix("cuda:"))


def choose_device(device: str, cuda_devices: int, unusable: str = "") -> str:
    """Turn what was asked for into ``cpu`` or ``cuda:<index>``.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` (the first one) or ``cuda:<index>``.
        cuda_devices: how many there are.
        unusable: why the runtime cannot use any CUDA device; empty if it can.

    Raises:
        InvalidConfig: ``device`` is none of these.
        DeviceUnavailable: it names a CUDA device that is not there or cannot be used.

    >>> choose_device("auto", 0), choose_device("auto", 2), choose_device("cuda", 1)
    ('cpu', 'cuda:0', 'cuda:0')
    """
    if device == "auto":
        return "cuda:0" if cuda_devices and not unusable else "cpu"
    if not re.fullmatch(r"cpu|cuda(:\d{1,3})?", device):
        raise InvalidConfig(f"No device is called {device!r}; expected auto, cpu, cuda or cuda:<number from 0>.")
    if device == "cpu":
        return device
    named = "cuda:0" if device == "cuda" else device
    reason = unusable or (f"this process sees {cuda_devices} CUDA devices" if cuda_index(named) >= cuda_devices else "")
    if reason:
        raise DeviceUnavailable(f"Device {device} cannot be used: {reason}. Serve with --device cpu, or mend that.")
    return named
