"""The pictures that labels name: put where a zoo lacks them, and written so that equal pixels are equal bytes.

A line of labels names a picture by the digest of its file. A package that can make its pictures has an ``images.py``
with ``images()``, which yields every file that its labels name, the same bytes each time.
"""

import importlib.metadata
import importlib.util
import json
import struct
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from heads.base.errors import HeadsError, InvalidHead
from heads.base.packages import Package
from zoo import Zoo
from zoo.digest import digest_bytes
from zoo.errors import InvalidLabels
from zoo.labels import Labels, Split

__all__ = ["Drawn", "Filled", "fill_images", "labels_text", "missing_images", "png_of"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_COLOUR_TYPES = {1: 0, 3: 2}
_LARGEST_STORED_BLOCK = 0xFFFF
_DRAWING_LIBRARIES = ("numpy", "pillow", "matplotlib", "scikit-learn")

OnImage = Callable[[int, int], None]
"""Told how many pictures are there, and of how many; for a progress bar."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A picture that a package makes, and the line of labels that names it.

    Attributes:
        id: of the example.
        split: of the example.
        slices: of the example.
        target: key and value of the target, e.g. ``("label", "a")``.
        file: the bytes of the picture.
    """

    id: str
    split: Split
    slices: tuple[str, ...]
    target: tuple[str, Any]
    file: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled:
    """What filling came to: how many files the labels name, and how many of them were put into the zoo."""

    named: int
    put: int


def fill_images(
    zoo: Zoo, package: Package, labels: Labels, *, on_image: OnImage = lambda _done, _total: None
) -> Filled:
    """Put the files that labels name into a zoo, if it lacks some and the package can make them.

    Args:
        zoo: where they go.
        package: whose ``images.py`` makes them; without one, nothing is done.
        labels: what names them.
        on_image: told about progress.

    Raises:
        InvalidHead: ``images.py`` does not import, has no ``images()``, or fails.
        InvalidLabels: the labels name a file that ``images.py`` does not make.
    """
    named = len(labels.files())
    missing = missing_images(zoo, labels)
    file = package.folder / "images.py"
    if not missing or not file.is_file():
        return Filled(named=named, put=0)
    wanted, made = dict(missing), 0
    for data in _images_of(package):
        made += 1
        if wanted.pop(digest_bytes(data), None) is not None:
            zoo.blobs.put(data)
            on_image(named - len(wanted), named)
        if not wanted:
            return Filled(named=named, put=len(missing))
    digest, example = next(iter(wanted.items()))
    raise InvalidLabels(
        f"{labels.where(example)}: the picture of {example!r} ({digest[:12]}…) is not among the {made} that "
        f"{file} makes, and {len(wanted) - 1} others of {named} are not. Either one of the two was changed, or other "
        f"versions of libraries draw otherwise; here are {_versions()}. Install what requirements.lock pins, or write "
        "the labels anew."
    )


def missing_images(zoo: Zoo, labels: Labels) -> dict[str, str]:
    """Return the digests of files that labels name and a zoo lacks, each with the id of an example that names it."""
    return {digest: example for digest, example in labels.files().items() if not zoo.blobs.has(digest)}


def labels_text(drawn: Iterable[Drawn]) -> str:
    """Return the labels file that names the given pictures, a line each, sorted by id."""
    lines = (
        {
            "id": each.id,
            "image": digest_bytes(each.file),
            "split": each.split,
            "slices": list(each.slices),
            each.target[0]: each.target[1],
        }
        for each in sorted(drawn, key=lambda each: each.id)
    )
    return "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines)


def png_of(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of pixels, uncompressed: its bytes depend on nothing but the pixels.

    Compressors, and so the PNG files of most libraries, give other bytes from version to version, and labels name
    pictures by the digest of their bytes. Laid out by RFC 2083 (PNG), 1950 (zlib) and 1951 (stored blocks).

    Args:
        pixels: grey (H, W) or RGB (H, W, 3).
    """
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    assert pixels.dtype == np.uint8, f"a picture has pixels of {pixels.dtype}"
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    raw = np.pad(rows, ((0, 0), (1, 0))).tobytes()  # each row begins with a 0: it is not filtered
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", _stored(raw)), (b"IEND", b""))
    return _SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _stored(raw: bytes) -> bytes:
    starts = range(0, len(raw), _LARGEST_STORED_BLOCK)
    blocks = (raw[start : start + _LARGEST_STORED_BLOCK] for start in starts)
    body = b"".join(
        struct.pack("<BHH", start == starts[-1], len(block), len(block) ^ 0xFFFF) + block
        for start, block in zip(starts, blocks, strict=True)
    )
    return b"\x78\x01" + body + struct.pack(">I", zlib.adler32(raw))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _images_of(package: Package) -> Iterator[bytes]:
    file = package.folder / "images.py"
    try:
        make = _import(package).images
        yield from make()
    except HeadsError:
        raise
    except Exception as error:  # whatever a team's code raises
        raise InvalidHead(
            f"{file} cannot make the pictures of {package.head.name!r}: {type(error).__name__}: {error}. It has a "
            "function images() that yields the bytes of every picture that labels.jsonl names."
        ) from error


def _import(package: Package) -> ModuleType:
    """Import a package's ``images.py`` from its folder, wherever that is."""
    name = f"heads.{package.folder.name}.images"
    spec = importlib.util.spec_from_file_location(name, package.folder / "images.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def _versions() -> str:
    found = {each.metadata["Name"].lower(): each.version for each in importlib.metadata.distributions()}
    return ", ".join(f"{name} {found[name]}" for name in _DRAWING_LIBRARIES if name in found)
