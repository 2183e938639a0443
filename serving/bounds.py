"""How long names and lists may be. A message is bounded in bytes alone, and few bytes can ask for much work."""

from serving.errors import InvalidRequest

__all__ = ["MAX_HEADS", "MAX_NAME", "MAX_OUTPUTS", "MAX_TENSORS", "check_count", "check_name"]

MAX_NAME = 256
"""Characters of a name; a head's own ends at 63, and a digest's has 64."""

MAX_HEADS = 256
"""Heads that one request asks."""

MAX_TENSORS = 64
"""Inputs that one request brings; no preprocessing declares nearly as many."""

MAX_OUTPUTS = 1024
"""Outputs that one request names: a few for each head."""


def check_name(what: str, name: str) -> str:
    """Return ``name``.

    Raises:
        InvalidRequest: it is longer than any that there is.

    >>> check_name("head", "intent")
    'intent'
    """
    if len(name) > MAX_NAME:
        raise InvalidRequest(f"A {what} of {len(name):,} characters, {name[:32]!r}…; none has more than {MAX_NAME}.")
    return name


def check_count(what: str, count: int, most: int) -> None:
    """See that a request does not hold more of something than it may.

    Raises:
        InvalidRequest: it does.
    """
    if count > most:
        raise InvalidRequest(f"The request has {count:,} {what}; send at most {most:,} in one.")
