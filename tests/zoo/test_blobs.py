import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from zoo.blobs import BlobStore
from zoo.digest import digest_bytes
from zoo.errors import Corrupt, InvalidConfig, NotFound, Unavailable


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore.in_folder(tmp_path)


def file_of(folder: Path, digest: str) -> Path:
    return folder / "blobs" / digest[:2] / digest


@pytest.mark.parametrize("data", [b"", b"x", bytes(range(256)) * 5_000])
def test_bytes_come_back_under_their_digest(blobs: BlobStore, data: bytes) -> None:
    digest = blobs.put(data)
    assert digest == digest_bytes(data)
    assert blobs.get(digest) == data
    assert blobs.has(digest)


def test_a_blob_lies_where_its_digest_says(blobs: BlobStore, tmp_path: Path) -> None:
    assert file_of(tmp_path, blobs.put(b"x")).read_bytes() == b"x"


def test_what_is_not_stored_is_not_found(blobs: BlobStore) -> None:
    missing = digest_bytes(b"never put")
    assert not blobs.has(missing)
    with pytest.raises(NotFound, match=f"Blob {missing} is not in"):
        blobs.get(missing)


@pytest.mark.parametrize("damage", [b"", b"payload of a blo", b"payload of a blog", b"payload of a blob and more"])
def test_damaged_bytes_are_never_returned(blobs: BlobStore, tmp_path: Path, damage: bytes) -> None:
    digest = blobs.put(b"payload of a blob")
    file_of(tmp_path, digest).write_bytes(damage)
    with pytest.raises(Corrupt, match="zoo verify"):
        blobs.get(digest)


def test_putting_the_same_bytes_again_heals_a_damaged_blob(blobs: BlobStore, tmp_path: Path) -> None:
    digest = blobs.put(b"payload")
    file_of(tmp_path, digest).write_bytes(b"pay")
    blobs.put(b"payload")
    assert blobs.get(digest) == b"payload"


def test_a_sound_blob_is_not_written_again(blobs: BlobStore, tmp_path: Path) -> None:
    written = file_of(tmp_path, blobs.put(b"payload")).stat()
    blobs.put(b"payload")
    again = file_of(tmp_path, digest_bytes(b"payload")).stat()
    assert (again.st_ino, again.st_mtime_ns) == (written.st_ino, written.st_mtime_ns)


def test_all_digests_are_listed_and_nothing_else(blobs: BlobStore, tmp_path: Path) -> None:
    digests = {blobs.put(bytes([number])) for number in range(20)}
    (tmp_path / "blobs" / "README").write_text("not a blob")
    file_of(tmp_path, f"{min(digests)}#1").write_text("left by a writer that was killed")
    assert set(blobs.digests()) == digests


def test_many_writers_of_one_blob_agree(blobs: BlobStore) -> None:
    data = b"shared stage" * 10_000
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(blobs.put, [data] * 32))
    assert digests == {digest_bytes(data)}
    assert blobs.get(digests.pop()) == data


def test_any_object_store_holds_blobs_by_url() -> None:
    blobs = BlobStore.at_url("memory:///")
    assert blobs.get(blobs.put(b"payload")) == b"payload"
    assert list(blobs.digests()) == [digest_bytes(b"payload")]


def test_a_url_of_no_object_store_is_refused_with_examples() -> None:
    with pytest.raises(InvalidConfig, match="s3://bucket/prefix"):
        BlobStore.at_url("ftps://bucket")


def test_a_store_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    blobs = BlobStore.in_folder(tmp_path)
    (tmp_path / "blobs").write_text("a file where the folder should be")
    with pytest.raises(Unavailable, match="cannot be reached"):
        blobs.put(b"payload")


def test_a_blob_is_on_the_disk_before_put_returns(
    blobs: BlobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a registry that survives a power cut could name bytes that did not."""
    synced: list[Path] = []
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    digest = blobs.put(b"x")
    file = file_of(tmp_path.resolve(), digest)
    assert synced == [file, file.parent, file.parent.parent]
    blobs.put(b"x")
    assert synced.count(file) == 2, "whoever stored it first may have died before it was on the disk"
