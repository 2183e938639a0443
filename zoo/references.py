"""References: how people and programs name a version.

``intent`` · ``intent@7`` · ``intent@prod`` · ``intent@3f9c01ab`` (at least eight digits of the digest)
"""

import re
from typing import NamedTuple

from zoo.errors import InvalidReference

__all__ = ["Reference", "check_alias", "check_name", "parse_reference"]

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")
_DIGEST_PREFIX = re.compile(r"[0-9a-f]{8,64}")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")


class Reference(NamedTuple):
    """A name, and what stands after the ``@``: exactly as written, and empty if there was none."""

    name: str
    selector: str

    @property
    def number(self) -> int:
        """The version number that the selector says, or 0."""
        return int(self.selector) if _NUMBER.fullmatch(self.selector) else 0

    @property
    def is_digest(self) -> bool:
        """Whether the selector can be the beginning of a digest."""
        return _DIGEST_PREFIX.fullmatch(self.selector) is not None

    @property
    def is_alias(self) -> bool:
        """Whether the selector can be an alias."""
        return _NAME.fullmatch(self.selector) is not None


def parse_reference(text: str) -> Reference:
    """Split a reference.

    Raises:
        InvalidReference: ``text`` is not one.

    >>> parse_reference("intent@prod")
    Reference(name='intent', selector='prod')
    """
    name, at, selector = text.partition("@")
    reference = Reference(name, selector)
    if not _NAME.fullmatch(name) or (at and not (reference.number or reference.is_alias or reference.is_digest)):
        raise InvalidReference(
            f"{text!r} is not a reference. Expected head, head@number, head@alias or head@digest (8 digits or more), "
            "for example intent, intent@7, intent@prod or intent@3f9c01ab; names are lower case."
        )
    return reference


def check_alias(alias: str) -> str:
    """Return ``alias`` if it can be one.

    Raises:
        InvalidReference: it is not a name, or could be taken for a digest.
    """
    if not _NAME.fullmatch(alias) or _DIGEST_PREFIX.fullmatch(alias):
        raise InvalidReference(
            f"{alias!r} cannot be an alias. Expected a lower-case letter, then letters, digits, '-' or '_', "
            "at most 63, and nothing that reads as a digest; for example prod or canary-2."
        )
    return alias


def check_name(name: str, what: str) -> str:
    """Return ``name`` if it can be the name of a head, a team or a backbone.

    Args:
        name: the name.
        what: of what, as the error says it.

    Raises:
        InvalidReference: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidReference(
            f"{name!r} cannot be the name of {what}. Expected a lower-case letter, then lower-case letters, digits, "
            "'-' or '_', at most 63; for example minilm or vit-small."
        )
    return name
