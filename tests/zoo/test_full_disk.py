"""A disk that is full while something is written: an error that says what to do, and nothing half written.

A file may grow to a limit only, as the kernel holds it: writes then fail in the middle, as on a full disk.
"""

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.fake_manifests import add_body, version_manifest
from zoo import Backbone, Zoo
from zoo.errors import Unavailable


@contextmanager
def files_of_at_most(size_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_blob_that_does_not_fit_leaves_nothing_and_says_what_to_do(zoo: Zoo, tmp_path: Path) -> None:
    data = os.urandom(3_000_000)
    before = sorted((tmp_path / "zoo").rglob("*"))
    with (
        pytest.raises(Unavailable, match=r"There is no room.*Nothing was half written: make room"),
        files_of_at_most(100_000),
    ):
        zoo.blobs.put(data)
    assert [file for file in sorted((tmp_path / "zoo").rglob("*")) if file.is_file() and file not in before] == []
    assert zoo.blobs.get(zoo.blobs.put(data)) == data


def test_a_version_that_cannot_be_recorded_is_not_there_and_can_be_published_again(zoo: Zoo, body: Backbone) -> None:
    manifest = version_manifest(zoo, body)
    with pytest.raises(Unavailable, match=r"Nothing was changed\..*the disk has room"), files_of_at_most(4096):
        zoo.publish(manifest, promote_to=["prod"])
    assert zoo.heads() == []
    assert zoo.publish(manifest, promote_to=["prod"]).number == 1
    assert zoo.verify() == []


def test_a_backbone_on_a_full_disk_is_added_wholly_or_not_at_all(zoo: Zoo) -> None:
    with pytest.raises(Unavailable), files_of_at_most(100):
        add_body(zoo)
    assert zoo.backbones() == []
    assert add_body(zoo).number == 1
