"""The registry: what the zoo knows, in SQL; the bytes are in the blob store.

Stages, backbones, versions and promotions are rows that are only ever added; triggers in the database refuse
anything else. Public names: ``Registry``, and the records that it returns: ``Version``, ``Promotion``,
``Resolved``, ``Live``, ``HeadSummary``, ``Backbone``, and ``Move``, which it takes.
"""

from zoo.registry.records import (
    AliasState,
    Backbone,
    HeadSummary,
    Live,
    Meaning,
    Move,
    Problem,
    Promotion,
    Resolved,
    Version,
)
from zoo.registry.registry import Registry

__all__ = [
    "AliasState",
    "Backbone",
    "HeadSummary",
    "Live",
    "Meaning",
    "Move",
    "Problem",
    "Promotion",
    "Registry",
    "Resolved",
    "Version",
]
