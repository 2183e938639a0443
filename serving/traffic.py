"""Which side of a split alias a caller is on: decided by who asks, and by nothing else."""

from blake3 import blake3

from zoo.digest import canonical_json

__all__ = ["share_of"]

_RANGE = 1 << 64


def share_of(head: str, alias: str, routing_key: str) -> float:
    """Return where a caller stands among all callers of one alias: at least 0, less than 1, and evenly spread.

    A canary of p percent answers those who stand below p / 100. So a caller stays on its side, who was on the canary
    at 10 % stays there at 20 %, and two heads split their callers independently of each other.

    Args:
        head: the head's name.
        alias: the alias that is split.
        routing_key: who asks; everybody who sends the same key is one caller.

    >>> share_of("intent", "prod", "ada") == share_of("intent", "prod", "ada")
    True
    >>> share_of("intent", "prod", "ada") == share_of("urgency", "prod", "ada")
    False
    """
    digest = blake3(canonical_json([head, alias, routing_key])).digest()
    return int.from_bytes(digest[:8], "big") / _RANGE
