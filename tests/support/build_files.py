"""BUILD files from the real imports: one target per Python file, so that the graph of targets has no cycle.

``python -m tests.support.build_files`` writes every BUILD file again; ``tests/test_build_files.py``
compares what is written with what the imports say. Third-party packages are ``@pypi//<distribution>``.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["ROOT", "Target", "expected_build_files", "read_build_file", "targets"]

ROOT = Path(__file__).parents[2]

PACKAGES = ("backbone", "benchmarks", "client", "demo", "heads", "protos", "serving", "tests", "zoo")
"""Top-level folders with Python in them."""

IMPORT_ROOTS = {"client": "client", "protos": "protos"}
"""Folders whose content, not they themselves, stands on the import path."""

DISTRIBUTIONS = {
    "PIL": "pillow",
    "google": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "grpc_reflection": "grpcio-reflection",
    "grpc_tools": "grpcio-tools",
    "onnxruntime": "onnxruntime-gpu",
    "sklearn": "scikit-learn",
}
"""Import names whose distribution is named otherwise."""

DATA = ("*.jsonl", "*.toml", "*.mako", "*.proto", "py.typed")
"""Files that code reads at run time."""

HEADER = """\
load("@rules_python//python:defs.bzl", "py_library", "py_test")

package(default_visibility = ["//visibility:public"])
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One rule of a BUILD file."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    data: tuple[str, ...]
    imports: tuple[str, ...]
    deps: tuple[str, ...]

    def render(self) -> str:
        """Return the rule as buildifier would format it."""
        lines = [f'    name = "{self.name}",', f"    srcs = {_render_list(self.srcs)},"]
        lines += [f"    {key} = {_render_list(value)}," for key, value in self._optional() if value]
        return f"{self.rule}(\n" + "\n".join(lines) + "\n)\n"

    def _optional(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return (("data", self.data), ("imports", self.imports), ("deps", self.deps))


def _render_list(values: tuple[str, ...]) -> str:
    if len(values) == 1:
        return f'["{values[0]}"]'
    return "[\n" + "".join(f'        "{value}",\n' for value in values) + "    ]"


def python_files() -> Iterator[Path]:
    """Yield every Python file of the project, relative to its root."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path.relative_to(ROOT)


def _module_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    if parts[0] in IMPORT_ROOTS:
        parts = parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _target_name(path: Path) -> str:
    return path.parent.name if path.name == "__init__.py" else path.stem


def _label(path: Path) -> str:
    folder, name = path.parent.as_posix(), _target_name(path)
    return f"//{folder}" if folder.rsplit("/", 1)[-1] == name else f"//{folder}:{name}"


def _imported_names(path: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name or "") for every import in a file that is done when it runs, also inside functions."""
    tree = ast.parse((ROOT / path).read_text())
    only_types = {inner for block in ast.walk(tree) if _is_for_types(block) for inner in ast.walk(block)}
    for node in ast.walk(tree):
        if node in only_types:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.level:
                raise ValueError(f"{path}:{node.lineno}: relative import; write the whole name")
            yield from ((node.module, alias.name) for alias in node.names)


def _is_for_types(node: ast.AST) -> bool:
    """Say whether a block is skipped at run time; two modules may name each other's types, and do not form a cycle."""
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _dependencies(path: Path, modules: dict[str, Path]) -> Iterator[str]:
    for module, name in _imported_names(path):
        own = modules.get(f"{module}.{name}") or modules.get(module)
        top = module.split(".")[0]
        if own is not None:
            if own != path:
                yield _label(own)
        elif top not in sys.stdlib_module_names and not (top in PACKAGES or top == "hydrazoo"):
            yield f"@pypi//{DISTRIBUTIONS.get(top, top).replace('_', '-')}"


def _data(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.name for pattern in DATA for path in (ROOT / folder).glob(pattern)))


def _target(path: Path, modules: dict[str, Path], *, carries_data: bool) -> Target:
    is_test = path.name.startswith("test_")
    root = IMPORT_ROOTS.get(path.parts[0])
    return Target(
        rule="py_test" if is_test else "py_library",
        name=_target_name(path),
        srcs=(path.name,),
        data=_data(path.parent) if carries_data else (),
        imports=("/".join([".."] * (len(path.parts) - 2)) or ".",) if root else (),
        deps=tuple(sorted(set(_dependencies(path, modules)))),
    )


def targets() -> dict[Path, list[Target]]:
    """Return the targets that the real imports ask for, by folder."""
    files = list(python_files())
    modules = {_module_name(path): path for path in files}
    folders: dict[Path, list[Target]] = {}
    for path in files:
        carries_data = path.name == "__init__.py" or not (ROOT / path.parent / "__init__.py").exists()
        folders.setdefault(path.parent, []).append(_target(path, modules, carries_data=carries_data))
    return folders


def expected_build_files() -> dict[Path, str]:
    """Return the text of every BUILD file, by its path relative to the root."""
    return {
        folder / "BUILD": HEADER + "".join("\n" + target.render() for target in found)
        for folder, found in targets().items()
    }


def read_build_file(path: Path) -> dict[str, dict[str, object]]:
    """Return the rules of a BUILD file by target name; its syntax is a subset of Python's."""
    rules: dict[str, dict[str, object]] = {}
    for node in ast.parse(path.read_text()).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.startswith("py_"):
            fields = {word.arg or "": ast.literal_eval(word.value) for word in call.keywords}
            rules[str(fields["name"])] = {"rule": call.func.id, **fields}
    return rules


def main() -> None:
    """Write every BUILD file, and remove those of folders that hold no Python any more."""
    expected = expected_build_files()
    for package in PACKAGES:
        for stale in (ROOT / package).rglob("BUILD"):
            if stale.relative_to(ROOT) not in expected:
                stale.unlink()
    for path, text in expected.items():
        (ROOT / path).write_text(text)


if __name__ == "__main__":
    main()
