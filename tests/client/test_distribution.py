"""The client's own distribution: built, installed and imported with nothing but what it depends on."""

import json
import os
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.support.fake_server import fake_server

CLIENT = Path(__file__).parents[2] / "client"
DEPENDENCIES = ("google", "grpc", "numpy", "typing_extensions")
"""Import names of grpcio, protobuf and numpy, and of what grpcio itself needs."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel, without network and isolation."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=CLIENT, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install it into an empty folder, beside links to its dependencies and to nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    install = [sys.executable, "-m", "pip", "install", "--no-index", "--no-deps", "--target", str(folder), str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    for name in DEPENDENCIES:
        place = _place(name)
        (folder / place.name).symlink_to(place)
        if (libraries := place.with_name(f"{name}.libs")).is_dir():
            (folder / libraries.name).symlink_to(libraries)
    return folder


def _place(name: str) -> Path:
    spec = find_spec(name)
    assert spec is not None
    if spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations)))
    assert spec.origin is not None
    return Path(spec.origin)


def run_alone(folder: Path, code: str) -> str:
    """Run Python on the folder's packages and the standard library alone, far from this repository."""
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    command = [sys.executable, "-S", "-c", code]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_wheel_holds_the_client_and_its_stubs_and_no_more(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    modules = {name for name in names if name.endswith(".py")}
    assert "hydrazoo/client/sync.py" in modules
    assert "hydrazoo/client/py.typed" in names
    assert {"hydrazoo/predict/v1/predict_pb2.py", "hydrazoo/registry/v1/registry_pb2_grpc.py"} <= modules
    assert "hydrazoo/client/command.py" not in modules
    assert not [name for name in names if "inference" in name or "__pycache__" in name]
    assert "hydrazoo/__init__.py" not in modules, "hydrazoo is a namespace that the platform shares"


def test_the_wheel_depends_on_grpc_protobuf_and_numpy_only(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    [metadata] = [name for name in archive.namelist() if name.endswith("/METADATA")]
    lines = archive.read(metadata).decode().splitlines()
    required = {line.removeprefix("Requires-Dist: ") for line in lines if line.startswith("Requires-Dist: ")}
    assert required == {"grpcio>=1.73", "numpy>=1.26", "protobuf<8,>=6.30"}


def test_the_installed_client_answers_without_torch_or_the_platform(installed: Path) -> None:
    code = """
import json, sys
from hydrazoo.client import AsyncClient, Client
with Client(TARGET) as client:
    answers = client.predict(text="x", heads=["intent", "urgency@7"])
ours = {"backbone", "click", "heads", "pydantic", "serving", "torch", "zoo"}
print(json.dumps([answers["intent"].label, answers["urgency"].value, sorted(ours & set(sys.modules))]))
"""
    with fake_server() as server:
        found = run_alone(installed, f"TARGET = {server.target!r}\n{code}")
    assert json.loads(found) == ["b", 7.5, []]


def test_only_the_dependencies_are_within_reach_of_that_test(installed: Path) -> None:
    code = "import importlib.util as u; print([n for n in ('torch', 'zoo', 'serving', 'click') if u.find_spec(n)])"
    assert run_alone(installed, code).strip() == "[]"


def test_the_version_of_the_client_is_stated_once(wheel: Path) -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    assert "version" in project["dynamic"]
    from hydrazoo.client import __version__

    assert wheel.name.startswith(f"hydrazoo-{__version__}-py3")
