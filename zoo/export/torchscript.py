"""Stage to TorchScript and back. Upstream has deprecated it, so nothing else in the zoo knows of it.

Only ``torch.jit.trace`` is used, never ``torch.jit.script``.
"""

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo.errors import ExportFailed
from zoo.export.declared import DeclaredModule

__all__ = ["load_torchscript", "made_by", "to_torchscript"]

_WRITTEN_ANYWAY = (".data/", "version", "byteorder")
"""Records that torch's archive writer adds by itself."""


def made_by() -> str:
    """Return the tool and settings that a TorchScript artifact names."""
    return f"torch {torch.__version__} jit.trace frozen"


def to_torchscript(stage: DeclaredModule, example: Sequence[Tensor]) -> bytes:
    """Trace and freeze a stage.

    Args:
        stage: the module, in eval mode.
        example: its inputs in order; the trace keeps no size of them.

    Returns:
        The bytes that ``torch.jit.load`` reads, on a CPU or a GPU, without any source path in them.

    Raises:
        ExportFailed: the tracer refuses the module.
    """
    assert isinstance(stage, nn.Module)
    buffer = io.BytesIO()
    try:
        with torch.no_grad(), _deprecated():
            traced = torch.jit.trace(stage, tuple(example), check_trace=False)  # type: ignore[no-untyped-call]
            torch.jit.save(torch.jit.freeze(traced), buffer)
    except Exception as error:  # the tracer raises whatever the module's operations raise
        raise ExportFailed(
            f"Stage '{stage.name}' could not be traced to TorchScript: {type(error).__name__}: {error}"
        ) from error
    return _without_traces_of_this_process(buffer.getvalue())


def load_torchscript(data: bytes, device: str = "cpu") -> torch.jit.ScriptModule:
    """Load what ``to_torchscript`` returned."""
    with _deprecated():
        module: torch.jit.ScriptModule = torch.jit.load(io.BytesIO(data), map_location=device)  # type: ignore[no-untyped-call]
    return module


def _without_traces_of_this_process(archive: bytes) -> bytes:
    """Drop what tells where a stage was traced, so that it gives the same bytes anywhere.

    That is the records that map operations to lines of source files, and the running number that torch puts into
    the name of a class that it has seen before.
    """
    reader = torch._C.PyTorchFileReader(io.BytesIO(archive))
    buffer = io.BytesIO()
    writer = torch._C.PyTorchFileWriter(buffer)
    for name in reader.get_all_records():
        if name.endswith(".debug_pkl") or name.startswith(_WRITTEN_ANYWAY):
            continue
        record = bytes(reader.get_record(name))
        if name.startswith("code/") or name == "data.pkl":
            name, record = re.sub(r"/___torch_mangle_\d+", "", name), re.sub(rb"\.___torch_mangle_\d+", b"", record)
        writer.write_record(name, record, len(record))
    writer.write_end_of_file()
    return buffer.getvalue()


@contextmanager
def _deprecated() -> Iterator[None]:
    """Silence what upstream says about this format; that it goes away is why it sits behind this module."""
    with warnings.catch_warnings():
        for category in (DeprecationWarning, FutureWarning):  # it depends on the release of torch
            warnings.filterwarnings("ignore", message=r"`torch\.jit\.\w+` is deprecated", category=category)
        # Sizes that a module compares in Python are constants in the trace. Exporting runs the
        # trace at other sizes and compares the results, which says more than the warning.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield
