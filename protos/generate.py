"""Regenerates the Python stubs from the .proto files: ``python protos/generate.py [folder]``.

Without a folder the stubs are written beside their sources. They are never edited by hand; a test
regenerates them into an empty folder and compares.
"""

import sys
from importlib.resources import files
from pathlib import Path

from grpc_tools import protoc

__all__ = ["SOURCES", "generate"]

SOURCES = Path(__file__).resolve().parent
"""The folder that ``.proto`` files import each other from."""


def generate(target: Path = SOURCES) -> None:
    """Write messages, their types and the service stubs of every ``.proto`` file below ``target``.

    Raises:
        RuntimeError: the compiler refused a file; it has printed why.
    """
    protos = sorted(str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.proto"))
    outputs = [f"--{kind}={target}" for kind in ("python_out", "pyi_out", "grpc_python_out")]
    well_known = files("grpc_tools") / "_proto"
    if protoc.main(["protoc", f"--proto_path={SOURCES}", f"--proto_path={well_known}", *outputs, *protos]):
        raise RuntimeError(f"protoc refused one of {', '.join(protos)}; its complaint is above")


if __name__ == "__main__":
    generate(Path(sys.argv[1]) if len(sys.argv) > 1 else SOURCES)
