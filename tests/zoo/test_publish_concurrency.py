import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.fake_manifests import version_manifest
from zoo import Backbone, Move, Zoo
from zoo.errors import Conflict

ROOT = Path(__file__).parents[2]
POSTGRES = os.environ.get("HYDRAZOO_TEST_POSTGRES", "")


def publish_at_once(folder: Path, database_url: str, names: Sequence[str], count: int) -> dict[str, list[int]]:
    """Start one process a name, let all go at the same moment, and return the numbers that each was given."""
    module = [sys.executable, "-m", "tests.support.eager_publisher", str(folder), database_url]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = {name: subprocess.Popen([*module, name, str(count)], cwd=ROOT, **pipes) for name in names}  # type: ignore[call-overload]
    for process in processes.values():
        assert process.stdout.readline() == "ready\n"
    for process in processes.values():
        process.stdin.write("go\n")
        process.stdin.flush()
    printed = {name: process.communicate(timeout=120)[0] for name, process in processes.items()}
    assert {process.returncode for process in processes.values()} == {0}
    return {name: [int(line) for line in text.split()] for name, text in printed.items()}


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
def test_processes_that_publish_at_once_all_succeed_with_numbers_of_their_own(
    tmp_path: Path, database_url: str
) -> None:
    names, count = ("ann", "ben", "cleo"), 6
    given = publish_at_once(tmp_path / "zoo", database_url, names, count)
    assert all(len(numbers) == count and numbers == sorted(numbers) for numbers in given.values())
    total = len(names) * count
    with Zoo.open(tmp_path / "zoo", database_url=database_url) as zoo:
        versions = {version.number: version.created_by for version in zoo.versions("intent")}
        assert versions == {number: name for name, numbers in given.items() for number in numbers}
        assert sorted(versions) == list(range(1, total + 1))
        log = zoo.promotions("intent", "prod")
        assert [entry.epoch for entry in log] == list(range(total, 0, -1))
        assert [entry.id for entry in log] == list(range(total, 0, -1)), "ids have no gaps, so a watcher misses none"
        assert zoo.verify() == []


def test_of_many_who_expect_the_same_epoch_exactly_one_wins(zoo: Zoo, body: Backbone) -> None:
    for seed in range(8):
        zoo.publish(version_manifest(zoo, body, seed=str(seed)))

    def promote(number: int) -> str:
        try:
            zoo.promote([Move("intent", "prod", number, expected_epoch=0)], by=f"caller {number}", reason="")
        except Conflict as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(promote, range(1, 9)))
    assert outcomes.count("") == 1
    winner = outcomes.index("") + 1
    assert zoo.resolve("intent@prod").version.number == winner
    assert all(f"caller {winner} moved it to intent@{winner}" in text for text in outcomes if text)


def test_readers_see_whole_transactions_while_others_write(zoo: Zoo, body: Backbone) -> None:
    zoo.publish(version_manifest(zoo, body), promote_to=["prod", "canary"])
    zoo.publish(version_manifest(zoo, body, seed="2"))

    def write() -> None:
        for turn in range(30):
            number = 1 + (turn + 1) % 2
            zoo.promote([Move("intent", "prod", number), Move("intent", "canary", number)], by="me", reason="")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        seen = 0
        while not writing.done() or seen == 0:
            canary, prod = zoo.live()
            assert (canary.epoch, canary.version) == (prod.epoch, prod.version)
            seen += 1
        writing.result()
