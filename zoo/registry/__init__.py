"""The registry: what the zoo knows, in SQL; the bytes are in the blob store.

Stages, backbones, versions, promotions and readings are rows that are only ever added; triggers in the database refuse
anything else. Public names: ``Registry``, and the records that it returns: ``Version``, ``Promotion``,
``Resolved``, ``Live``, ``HeadSummary``, ``Backbone``, ``Reading``, and ``Move`` and ``NewReading``, which it takes.
"""

from zoo.registry.records import (
    AliasState,
    Backbone,
    HeadSummary,
    Live,
    Meaning,
    Move,
    NewReading,
    Problem,
    Promotion,
    Reading,
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
    "NewReading",
    "Problem",
    "Promotion",
    "Reading",
    "Registry",
    "Resolved",
    "Version",
]
