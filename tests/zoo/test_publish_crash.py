import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.crashing_publisher import publish
from tests.support.fake_manifests import add_body, version_manifest
from zoo import Zoo
from zoo.blobs import BlobStore

ROOT = Path(__file__).parents[2]

PUT_FOREVER = """
import itertools, sys
from pathlib import Path
from zoo.blobs import BlobStore
blobs = BlobStore.in_folder(Path(sys.argv[1]))
for number in itertools.count():
    blobs.put(number.to_bytes(8, "big") * 500_000)
    print(number, flush=True)
"""


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Zoos whose publisher was killed, one step later in each; in the last it was not."""
    template, folder = tmp_path_factory.mktemp("template"), tmp_path_factory.mktemp("crashed")
    with Zoo.open(template, create=True) as zoo:
        zoo.publish(version_manifest(zoo, add_body(zoo)), promote_to=["prod"])
    command = [sys.executable, "-m", "tests.support.crashing_publisher", str(template), str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, timeout=120)
    return sorted(folder.iterdir(), key=lambda path: int(path.name))


def state(zoo: Zoo) -> tuple[list[int], list[tuple[str, int, int]]]:
    (head,) = zoo.heads()
    return [version.number for version in zoo.versions("intent")], [
        (each.alias, each.number, each.epoch) for each in head.aliases
    ]


BEFORE = ([1], [("prod", 1, 1)])
AFTER = ([2, 1], [("canary", 2, 1), ("prod", 2, 2)])


def test_a_publisher_killed_at_any_step_leaves_the_whole_version_or_nothing(crashed: list[Path]) -> None:
    states = []
    for folder in crashed:
        with Zoo.open(folder) as zoo:
            states.append(state(zoo))
            assert zoo.verify() == [], folder.name
    assert len(crashed) > 30, "the publisher was killed at many steps"
    assert states == sorted(states, key=lambda found: found == AFTER), "once it is there, it stays"
    assert {str(found) for found in states} == {str(BEFORE), str(AFTER)}


def test_publishing_again_after_any_crash_finishes_the_work(crashed: list[Path]) -> None:
    for folder in crashed:
        with Zoo.open(folder) as zoo:
            publish(zoo)
            assert state(zoo) == AFTER, folder.name
            assert zoo.verify() == []


def test_a_writer_killed_in_the_middle_of_a_blob_leaves_no_part_of_it(tmp_path: Path) -> None:
    for delay_ms in (0, 3, 7, 13):
        command = [sys.executable, "-c", PUT_FOREVER, str(tmp_path)]
        with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline()
            time.sleep(delay_ms / 1000)
            writer.send_signal(signal.SIGKILL)
    blobs = BlobStore.in_folder(tmp_path)
    stored = list(blobs.digests())
    assert stored
    assert all(len(blobs.get(digest)) == 4_000_000 for digest in stored)
