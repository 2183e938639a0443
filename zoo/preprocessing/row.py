"""One preprocessed input, and what makes one."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from zoo.digest import canonical_json, digest_bytes
from zoo.manifest import Preprocessing, TensorSpec

__all__ = ["Arrays", "Preprocessor", "Raw", "Row", "digest_image", "digest_tensors", "digest_text"]

Arrays = Mapping[str, NDArray[Any]]
"""Named tensors of one row, without the N axis."""

Raw = str | bytes | Arrays
"""What a caller sends: text, the bytes of an encoded image, or ready tensors."""

REMEMBERED_HEADERS = 4096


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One input, ready for a batch.

    Attributes:
        tensors: what the first stage reads, by name, without the N axis: ``ids_NT`` is (T,).
        length: the size of the T axis, padding not counted; 1 if there is no such axis.
        digest: of the raw input and its kind; equal digests, equal rows.
        text: the text that was sent; empty if none was.
        offsets: per token, where it starts and ends in ``text`` in code points; (0, 0) for special tokens.
            Empty if no text was sent.
    """

    tensors: Arrays
    length: int
    digest: str
    text: str = ""
    offsets: tuple[tuple[int, int], ...] = ()


class Preprocessor(Protocol):
    """Makes rows out of raw inputs; pure, and safe to call from several threads."""

    @property
    def spec(self) -> Preprocessing:
        """The declaration that it was loaded from."""
        ...

    @property
    def declared(self) -> tuple[TensorSpec, ...]:
        """The tensors that its rows hold, as a batch has them."""
        ...

    def __call__(self, raw: Raw) -> Row:
        """Preprocess one input.

        Raises:
            InvalidInput: it is of the wrong kind, or ready tensors are not as declared.
            TooLong: it is a text of more tokens than the model takes.
            Undecodable: it is not Unicode text, or not a JPEG or PNG image.
        """
        ...


def digest_text(text: str) -> str:
    """Return the digest of a raw text.

    >>> digest_text("hi") == digest_image(b"hi")
    False
    """
    return digest_bytes(b"text\0" + text.encode())


def digest_image(data: bytes) -> str:
    """Return the digest of an encoded image's bytes."""
    return digest_bytes(b"image\0" + data)


def digest_tensors(tensors: Arrays) -> str:
    """Return the digest of ready tensors: of their names, element types, shapes and elements.

    >>> one = {"a": np.zeros(2, np.uint8), "b": np.ones(1, np.uint8)}
    >>> digest_tensors(one) == digest_tensors(dict(reversed(one.items())))
    True
    """
    named = sorted(tensors.items())
    header = _header(tuple((name, array.dtype, array.shape) for name, array in named))
    return digest_bytes(b"".join([header, *(array.tobytes() for _, array in named)]))


@lru_cache(REMEMBERED_HEADERS)
def _header(described: tuple[tuple[str, np.dtype[Any], tuple[int, ...]], ...]) -> bytes:
    """Return what comes before the elements: it says how many bytes each tensor has, and its own length where it ends.

    Most requests of a server have the same few headers, and writing one takes longer than a small row's digest.
    """
    header = canonical_json([[name, str(dtype), list(shape)] for name, dtype, shape in described])
    return b"tensors\0" + len(header).to_bytes(8, "little") + header
