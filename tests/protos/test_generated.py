import subprocess
import sys
from pathlib import Path

import pytest

SOURCES = Path(__file__).parents[2] / "protos"
STUBS = sorted(
    str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*_pb2*.py*") if "__pycache__" not in path.parts
)


@pytest.fixture(scope="module")
def regenerated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("protos")
    subprocess.run([sys.executable, str(SOURCES / "generate.py"), str(folder)], check=True)
    return folder


def test_every_stub_has_a_source_and_every_source_its_stubs(regenerated: Path) -> None:
    assert sorted(str(path.relative_to(regenerated)) for path in regenerated.rglob("*") if path.is_file()) == STUBS


@pytest.mark.parametrize("stub", STUBS)
def test_stub_is_what_its_source_generates(regenerated: Path, stub: str) -> None:
    assert (regenerated / stub).read_bytes() == (SOURCES / stub).read_bytes(), (
        f"{stub} differs from its source; run `python protos/generate.py`"
    )
