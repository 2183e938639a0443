from pathlib import Path

import pytest

from tests.support.build_files import PACKAGES, ROOT, Target, read_build_file, targets

TARGETS = targets()


def as_rule(target: Target) -> dict[str, object]:
    fields: dict[str, object] = {"rule": target.rule, "name": target.name, "srcs": list(target.srcs)}
    optional: dict[str, object] = {
        "data": list(target.data),
        "imports": list(target.imports),
        "deps": list(target.deps),
    }
    return fields | {key: value for key, value in optional.items() if value}


@pytest.mark.parametrize("folder", sorted(TARGETS), ids=str)
def test_build_file_declares_exactly_what_the_files_import(folder: Path) -> None:
    path = ROOT / folder / "BUILD"
    assert path.exists(), f"{folder} has no BUILD file; `make build-files` writes it"
    declared = read_build_file(path)
    wanted = {target.name: as_rule(target) for target in TARGETS[folder]}
    assert declared == wanted, f"{folder}/BUILD is out of date; `make build-files` writes it again"


def test_no_build_file_is_left_behind_in_a_folder_without_python() -> None:
    found = {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("BUILD")}
    assert found == set(TARGETS)


def test_targets_form_no_cycle() -> None:
    graph = {
        f"//{folder}" if target.name == folder.name else f"//{folder}:{target.name}": target.deps
        for folder, found in TARGETS.items()
        for target in found
    }
    done: set[str] = set()

    def visit(label: str, trail: tuple[str, ...]) -> None:
        assert label not in trail, "cycle: " + " -> ".join([*trail[trail.index(label) :], label])
        if label in done or label not in graph:
            return
        for dependency in graph[label]:
            visit(dependency, (*trail, label))
        done.add(label)

    for label in graph:
        visit(label, ())


def test_reader_sees_a_missing_dependency(tmp_path: Path) -> None:
    text = 'py_library(\n    name = "a",\n    srcs = ["a.py"],\n    deps = ["//zoo:errors"],\n)\n'
    (tmp_path / "BUILD").write_text(text)
    assert read_build_file(tmp_path / "BUILD")["a"]["deps"] == ["//zoo:errors"]


def test_root_build_file_names_every_package() -> None:
    text = (ROOT / "BUILD").read_text()
    assert all(f'"//{package}' in text for package in PACKAGES if package not in ("benchmarks", "tests"))
