"""Heads: what a team declares, and the library that fine-tunes, tests, exports and publishes it.

A head package declares ``HEAD = Head(...)`` in its ``head.py``: the kind of answer (``Classify``, ``Multilabel``,
``Regress``, ``Tag``, ``Embed`` or ``Segment``), the stage of the backbone that it is attached to, the ``Tail`` of the
backbone that it trains copies of, and the ``Gate`` that a version has to pass. Importing this imports no torch, so that
a build with nothing to do ends in milliseconds; what trains is in ``heads.base.building.pipeline``.
"""

from heads.base.declaration import Classify, Embed, Gate, Head, Multilabel, Regress, Segment, Tag, Tail

__all__ = ["Classify", "Embed", "Gate", "Head", "Multilabel", "Regress", "Segment", "Tag", "Tail"]
