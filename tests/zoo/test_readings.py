import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy as sa

from zoo import Zoo
from zoo.registry import NewReading
from zoo.registry.engine import write

ROOT = Path(__file__).parents[2]
POSTGRES = os.environ.get("HYDRAZOO_TEST_POSTGRES", "")
GATE = NewReading("intent", "a" * 64, "b" * 64, "c" * 64, "ann", "gate")


def test_a_reading_says_who_read_what_for_which_build_and_why(zoo: Zoo) -> None:
    logged = zoo.log_reading(GATE)
    assert (logged.id, logged.head, logged.by, logged.reason, logged.number) == (1, "intent", "ann", "gate", 0)
    assert (logged.labels, logged.test_split, logged.build_key) == ("a" * 64, "b" * 64, "c" * 64)
    assert zoo.readings("intent") == [logged]


def test_readings_come_newest_first_by_head_and_by_test_split(zoo: Zoo) -> None:
    for new in (GATE, GATE._replace(head="pii"), GATE._replace(test_split="d" * 64), GATE._replace(number=3)):
        zoo.log_reading(new)
    assert [reading.id for reading in zoo.readings("intent")] == [4, 3, 1]
    assert [reading.id for reading in zoo.readings("intent", "b" * 64)] == [4, 1]
    assert zoo.readings("nobody") == []


def test_a_zoo_of_the_release_before_is_brought_forward_with_its_promotions(zoo: Zoo, tmp_path: Path) -> None:
    with write(zoo.registry.engine) as connection:
        connection.execute(sa.text("DROP TABLE reading"))
        connection.execute(sa.text("UPDATE alembic_version SET version_num = '0002'"))
    zoo.close()
    with Zoo.open(tmp_path / "zoo") as again:
        assert again.readings("intent") == []
        assert again.log_reading(GATE).id == 1


@pytest.mark.parametrize(
    "database_url",
    [
        pytest.param("", id="sqlite"),
        pytest.param(
            POSTGRES,
            id="postgresql",
            marks=pytest.mark.skipif(not POSTGRES, reason="HYDRAZOO_TEST_POSTGRES names no empty PostgreSQL database"),
        ),
    ],
)
def test_of_processes_that_read_at_once_none_is_lost_and_ids_have_no_gaps(
    empty_zoo: Path, tmp_path: Path, database_url: str
) -> None:
    names, count = ("ann", "ben", "cleo"), 10
    folder = Path(shutil.copytree(empty_zoo, tmp_path / "zoo"))
    before = _ids(folder, database_url)
    module = [sys.executable, "-m", "tests.support.eager_reader", str(folder), database_url]
    readers = [
        subprocess.Popen([*module, name, str(count)], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for name in names
    ]
    for reader in readers:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"ready\n"
    for reader in readers:
        reader.communicate(b"go\n", timeout=60)
    assert {reader.returncode for reader in readers} == {0}
    after = _ids(folder, database_url)
    assert len(after) == len(before) + len(names) * count
    assert after == list(range(len(after), 0, -1))


def _ids(folder: Path, database_url: str) -> list[int]:
    with Zoo.open(folder, create=True, database_url=database_url) as zoo:
        return [reading.id for reading in zoo.readings("intent")]
