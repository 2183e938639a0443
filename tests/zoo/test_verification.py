from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.support.fake_manifests import add_head_stage, version_manifest
from zoo import Backbone, Version, Zoo
from zoo.registry.engine import write
from zoo.verification import verify_zoo


@pytest.fixture
def version(zoo: Zoo, body: Backbone) -> Version:
    return zoo.publish(version_manifest(zoo, body), promote_to=["prod"])


def file_of(folder: Path, digest: str) -> Path:
    return folder / "zoo" / "blobs" / digest[:2] / digest


def kinds(zoo: Zoo) -> list[tuple[str, str]]:
    return [(problem.subject, problem.kind) for problem in zoo.verify()]


def tamper(zoo: Zoo, table: str, statement: str) -> None:
    """Change rows behind the registry's back, as somebody with the database's password could."""
    with write(zoo.registry.engine) as connection:
        connection.execute(sa.text(f"DROP TRIGGER {table}_refuses_update"))
        connection.execute(sa.text(statement))


def test_a_sound_zoo_has_no_problems_and_everything_was_read(zoo: Zoo, version: Version) -> None:
    told: list[tuple[int, int]] = []
    found = verify_zoo(zoo.registry, zoo.blobs, lambda done, total: told.append((done, total)))
    assert (found.problems, found.unreferenced) == ((), ())
    assert (found.versions, found.stages) == (1, 3)
    assert told == [(done, found.blobs) for done in range(1, found.blobs + 1)]


@pytest.mark.parametrize("what", ["stage manifest", "onnx", "tokenizer", "version", "backbone"])
@pytest.mark.parametrize("damage", ["missing", "corrupt"])
def test_every_blob_that_is_missing_or_damaged_is_named(
    zoo: Zoo, body: Backbone, version: Version, tmp_path: Path, what: str, damage: str
) -> None:
    manifest = zoo.manifest(version)
    ref = manifest.stages[-1]
    digest, subject = {
        "stage manifest": (ref.manifest, f"stage intent {ref.digest[:12]}"),
        "onnx": (zoo.stage(ref.digest).artifacts["onnx"].blob, f"stage intent {ref.digest[:12]}"),
        "tokenizer": (getattr(manifest.preprocessing, "tokenizer"), "version intent@1"),  # noqa: B009 - of a union
        "version": (version.digest, "version intent@1"),
        "backbone": (body.digest, "backbone minilm@1"),
    }[what]
    if damage == "missing":
        file_of(tmp_path, digest).unlink()
    else:
        file_of(tmp_path, digest).write_bytes(b"rot")
    problems = [problem for problem in zoo.verify() if digest in problem.message]
    assert (subject, damage) in [(problem.subject, problem.kind) for problem in problems]


def test_a_row_that_differs_from_its_manifest_is_a_mismatch(zoo: Zoo, version: Version) -> None:
    tamper(zoo, "version", "UPDATE version SET created_by = 'mallory'")
    assert kinds(zoo) == [("version intent@1", "mismatch")]


def test_a_path_that_differs_from_its_manifest_is_a_mismatch(zoo: Zoo, version: Version) -> None:
    other = add_head_stage(zoo, "intent", seed="swapped")
    tamper(zoo, "version_stage", f"UPDATE version_stage SET stage = '{other.digest}' WHERE position = 2")
    assert kinds(zoo) == [("version intent@1", "mismatch")]


def test_a_stage_row_that_names_another_manifest_is_a_mismatch(zoo: Zoo, version: Version) -> None:
    first, second, _ = zoo.manifest(version).stages
    tamper(zoo, "stage", f"UPDATE stage SET manifest = '{first.manifest}' WHERE digest = '{second.digest}'")
    assert set(kinds(zoo)) == {
        (f"stage minilm/1 {second.digest[:12]}", "mismatch"),
        ("backbone minilm@1", "mismatch"),
        ("version intent@1", "mismatch"),
    }


def test_an_alias_that_points_nowhere_is_a_problem(zoo: Zoo, version: Version) -> None:
    with zoo.registry.engine.connect() as connection:
        connection.exec_driver_sql("ROLLBACK")
        connection.exec_driver_sql("PRAGMA foreign_keys=OFF")
        row = "(2, 'intent', 'canary', 1, 42, '2025-01-01 00:00:00', 'mallory', '')"
        connection.exec_driver_sql(
            f'INSERT INTO promotion (id, head, alias, epoch, number, at, "by", reason) VALUES {row}'
        )
    zoo.registry.engine.dispose()
    assert kinds(zoo) == [("alias intent@canary", "mismatch")]


def test_blobs_that_nothing_names_are_told_and_are_no_problem(zoo: Zoo, version: Version) -> None:
    stray = zoo.blobs.put(b"left by something interrupted")
    found = verify_zoo(zoo.registry, zoo.blobs)
    assert (found.problems, found.unreferenced) == ((), (stray,))
    assert zoo.verify() == []


def test_what_is_published_while_it_reads_is_no_problem(zoo: Zoo, body: Backbone, version: Version) -> None:
    def publish_once(done: int, _total: int) -> None:
        if done == 1:
            zoo.publish(version_manifest(zoo, body, seed="meanwhile"))

    assert zoo.verify(publish_once) == []
    assert len(zoo.versions("intent")) == 2
