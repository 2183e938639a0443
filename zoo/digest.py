"""Content addresses: BLAKE3 over bytes, and over the canonical JSON of a value."""

import json
from collections.abc import Iterable
from typing import Annotated, Any

from blake3 import blake3
from pydantic import StringConstraints

__all__ = ["SHORT_DIGEST_LENGTH", "Digest", "canonical_json", "digest_bytes", "digest_json", "path_digest"]

Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
"""A full-length BLAKE3 digest: 64 lower-case hexadecimal digits."""

SHORT_DIGEST_LENGTH = 12
"""How many digits a digest is shortened to where a person reads it."""


def digest_bytes(data: bytes | bytearray | memoryview) -> str:
    """Return the BLAKE3 digest of ``data`` as 64 hexadecimal digits.

    >>> digest_bytes(b"")[:12]
    'af1349b9f5f9'
    """
    return blake3(data).hexdigest()


def canonical_json(value: Any) -> bytes:
    r"""Return the one JSON encoding of ``value`` that digests are taken over: sorted keys, no spaces, UTF-8.

    Raises:
        ValueError: ``value`` holds a NaN or an infinity, which JSON cannot say.
        TypeError: ``value`` holds something that is not JSON.

    >>> canonical_json({"b": 1, "a": ["é"]})
    b'{"a":["\xc3\xa9"],"b":1}'
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode()


def digest_json(value: Any) -> str:
    """Return the digest of the canonical JSON of ``value``.

    >>> digest_json({"a": 1, "b": 2}) == digest_json({"b": 2, "a": 1})
    True
    """
    return digest_bytes(canonical_json(value))


def path_digest(stage_digests: Iterable[str]) -> str:
    """Return the digest of a path: of the list of its stages' digests, from input to answer.

    Two paths agree up to a stage exactly when the digests of the two prefixes are equal.

    >>> path_digest(["00" * 32]) == path_digest(["00" * 32, "11" * 32])
    False
    """
    return digest_json(list(stage_digests))
