"""Fingerprints: they follow content, not names of folders or dates, and import nothing that they name."""

import os
import shutil
from pathlib import Path

import pytest

from backbone.load import _minilm_folder
from heads.base.building import fingerprint
from heads.base.building.fingerprint import (
    absolute_source,
    backbone_key,
    code_fingerprint,
    environment,
    files_fingerprint,
    preprocessing_key,
    source_folder,
)
from zoo.manifest import TensorPreprocessing, TensorSpec


def test_a_fingerprint_follows_bytes_and_relative_names_only(tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").write_bytes(b"1")
    os.utime(folders[1] / "deep" / "file", (1, 1))
    one, other = (files_fingerprint(folder, folder.rglob("file")) for folder in folders)
    assert one == other
    (folders[1] / "deep" / "file").write_bytes(b"2")
    assert files_fingerprint(folders[1], folders[1].rglob("file")) != one
    assert files_fingerprint(tmp_path, folders[0].rglob("file")) != one


def test_empty_files_have_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert files_fingerprint(tmp_path, [tmp_path / "empty"])


def test_tests_of_a_team_are_not_part_of_what_builds_its_head(tmp_path: Path) -> None:
    (tmp_path / "head.py").write_text("1")
    before = code_fingerprint(tmp_path)
    (tmp_path / "test_head.py").write_text("1")
    assert code_fingerprint(tmp_path) == before
    (tmp_path / "extra.py").write_text("1")
    assert code_fingerprint(tmp_path) != before


def test_the_key_of_a_backbone_follows_source_cut_name_and_every_file(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    source = f"hf:{tmp_path}"
    keys = {
        backbone_key(source, (), ""),
        backbone_key(source, (2,), ""),
        backbone_key(source, (), "other"),
    }
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    keys.add(backbone_key(source, (), ""))
    assert len(keys) == 4


def test_names_on_a_hub_have_no_key_since_they_can_change() -> None:
    assert backbone_key("hf:someone/some-model", (), "") is None
    assert source_folder("timm:vit_tiny_patch16_224") is None


def test_minilm_is_found_where_the_loader_finds_it() -> None:
    folder = source_folder("minilm")
    assert folder is not None
    assert _minilm_folder().is_relative_to(folder)


def test_relative_folders_become_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    assert absolute_source("hf:model") == f"hf:{tmp_path / 'model'}"
    assert absolute_source("hf:bert-base-uncased") == "hf:bert-base-uncased"
    assert absolute_source("minilm") == "minilm"
    assert absolute_source("glyphs") == "glyphs"


def test_the_environment_names_versions_and_what_is_absent() -> None:
    found = environment()
    assert {"python", "torch", "torchvision", "numpy", "onnx"} <= set(found)
    assert all(found.values())


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the source that the fingerprints read, to be changed."""
    for part in ("backbone", "heads/base", "zoo"):
        shutil.copytree(fingerprint._ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(fingerprint, "_ROOT", tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "rebuilds"),
    [
        ("backbone/text.py", True),
        ("backbone/pretrain/training.py", False),
        ("heads/base/training/loop.py", True),
        ("heads/base/commands/head.py", False),
        ("zoo/answer_forms.py", True),
        ("zoo/answers.py", True),
        ("zoo/examples.py", True),
        ("zoo/export/parity.py", True),
        ("zoo/label_lines.py", True),
        ("zoo/labels.py", True),
        ("zoo/manifest.py", True),
        ("zoo/masks.py", True),
        ("zoo/preprocessing/text.py", True),
        ("zoo/verification.py", False),
        ("zoo/commands/ls.py", False),
    ],
)
def test_code_that_shapes_a_head_is_part_of_its_fingerprint(checkout: Path, changed: str, rebuilds: bool) -> None:
    team = checkout / "team"
    team.mkdir()
    before = code_fingerprint(team)
    with (checkout / changed).open("a") as file:
        file.write("# changed\n")
    assert (code_fingerprint(team) != before) is rebuilds


def test_features_are_kept_apart_by_what_made_their_rows(checkout: Path) -> None:
    specs = [
        TensorPreprocessing(tensors=(TensorSpec(name=name, dtype="float32", shape=("N", 2)),)) for name in ("a", "b")
    ]
    keys = {preprocessing_key(spec) for spec in specs}
    with (checkout / "zoo" / "preprocessing" / "tensor.py").open("a") as file:
        file.write("# changed\n")
    assert len(keys | {preprocessing_key(spec) for spec in specs}) == 4


def test_every_library_that_can_change_a_head_is_named() -> None:
    assert {"onnx-ir", "onnxruntime", "pillow", "safetensors", "tokenizers", "timm"} <= set(environment())


@pytest.mark.parametrize("name", ["testing", "commands"])
def test_where_a_checkout_lies_does_not_hide_its_code(
    name: str, checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = checkout / name
    for part in ("backbone", "heads", "zoo"):
        shutil.copytree(checkout / part, moved / part)
    monkeypatch.setattr(fingerprint, "_ROOT", moved)
    team = checkout / "team"
    team.mkdir()
    before = code_fingerprint(team)
    with (moved / "backbone" / "text.py").open("a") as file:
        file.write("# changed\n")
    assert code_fingerprint(team) != before
