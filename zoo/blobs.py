"""The blob store: immutable bytes by their digest, in a folder, S3 or GCS.

A blob is written whole or not at all, once, and checked against its digest whenever it is read. No path to
a blob is ever handed out, so nobody can write through one.
"""

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from zoo.digest import digest_bytes
from zoo.errors import Corrupt, InvalidConfig, NotFound, Unavailable

__all__ = ["BlobStore"]

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KEY = re.compile(r"^blobs/[0-9a-f]{2}/([0-9a-f]{64})$")


class BlobStore:
    """Content-addressed bytes under ``blobs/ab/<digest>`` of an object store.

    Args:
        store: an obstore object store.
        place: where it is, as error messages name it.
        folder: where it is if it is a folder of this machine.
    """

    def __init__(self, store: ObjectStore, place: str, folder: Path | None = None) -> None:
        self._store = store
        self._place = place
        self._folder = folder

    @classmethod
    def in_folder(cls, folder: Path) -> "BlobStore":
        """Open the blobs under ``folder``, which is made if it is not there."""
        return cls(LocalStore(prefix=folder, mkdir=True), str(folder), folder)

    @classmethod
    def at_url(cls, url: str) -> "BlobStore":
        """Open the blobs at an object store's URL, for example ``s3://bucket/prefix`` or ``gs://bucket/prefix``.

        Raises:
            InvalidConfig: the URL is of no object store.
        """
        try:
            return cls(from_url(url), url)
        except (BaseError, ValueError) as error:
            raise InvalidConfig(
                f"The blobs_url cannot be used: {_first_line(error)}. Expected a URL such as s3://bucket/prefix, "
                "gs://bucket/prefix or file:///folder; credentials come from the environment."
            ) from error

    def put(self, data: bytes) -> str:
        """Store ``data`` and return its digest; bytes that are there already are left alone, or healed if damaged.

        Raises:
            Unavailable: the store cannot be reached or written.
        """
        digest = digest_bytes(data)
        try:
            self._write(digest, data, "create")
        except AlreadyExistsError:
            if digest_bytes(self._read(digest)) != digest:
                self._write(digest, data, "overwrite")
        self._settle(digest)
        return digest

    def get(self, digest: str) -> bytes:
        """Return the bytes of a blob, checked against its digest.

        Raises:
            NotFound: there is no such blob.
            Corrupt: the stored bytes are not those that were put.
        """
        data = self._read(digest)
        found = digest_bytes(data)
        if found != digest:
            raise Corrupt(
                f"Blob {digest} in {self._place} is damaged: its {len(data):,} bytes have the digest {found[:12]}…. "
                "`zoo verify` lists what uses it; publish it again from the same source, or restore "
                f"{_key(digest)} from a copy."
            )
        return data

    def has(self, digest: str) -> bool:
        """Say whether a blob of that digest is stored, without reading it."""
        try:
            with self._reaching():
                obstore.head(self._store, _key(digest))
        except (NotFoundError, FileNotFoundError):
            return False
        return True

    def digests(self) -> Iterator[str]:
        """Yield the digest of every stored blob, in no order."""
        with self._reaching():
            for batch in obstore.list(self._store, prefix="blobs"):
                for entry in batch:
                    if match := _KEY.match(entry["path"]):
                        yield match[1]

    def _write(self, digest: str, data: bytes, mode: Literal["create", "overwrite"]) -> None:
        with self._reaching():
            obstore.put(self._store, _key(digest), data, mode=mode, use_multipart=False)

    def _settle(self, digest: str) -> None:
        """Have a blob and its folders on the disk: a registry that survives a power cut must not outlive its blobs.

        One that was there already too, since whoever stored it may have died before this.
        """
        if self._folder is None:
            return
        file = self._folder / _key(digest)
        with self._reaching():
            for path in (file, file.parent, file.parent.parent):
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    os.fsync(descriptor)
                finally:
                    os.close(descriptor)

    def _read(self, digest: str) -> bytes:
        try:
            with self._reaching():
                return obstore.get(self._store, _key(digest)).bytes().to_bytes()
        except (NotFoundError, FileNotFoundError) as error:
            raise NotFound(
                f"Blob {digest} is not in {self._place}. It was deleted, or this zoo belongs to another blob store; "
                "`zoo config` prints which one is in use."
            ) from error

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        """Let the two answers through that a store gives on purpose; the rest is about reaching it."""
        try:
            yield
        except (AlreadyExistsError, NotFoundError, FileNotFoundError):
            raise
        except (BaseError, OSError) as error:
            said = _first_line(error)
            if any(said.endswith(f"(os error {number})") for number in _NO_ROOM):
                raise Unavailable(
                    f"There is no room for a blob in {self._place}: {said}. Nothing was half written: make room, and "
                    "run the same again; what is stored already is not written twice."
                ) from error
            raise Unavailable(f"The blobs in {self._place} cannot be reached: {said}.") from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]  # what follows are the store's internals


def _key(digest: str) -> str:
    return f"blobs/{digest[:2]}/{digest}"
