"""The zoo: immutable versions of models as paths of shared stages, and the aliases that make them live.

Public: ``Zoo`` opens one; ``Version``, ``Backbone``, ``Resolved``, ``Live``, ``Move`` and ``Promotion`` are what it
returns and takes; ``ZooError`` is the root of what it refuses. Manifests are in ``zoo.manifest``, digests in
``zoo.digest``. Importing this never imports torch.
"""

from zoo.errors import ZooError
from zoo.registry.records import Backbone, Live, Move, Promotion, Resolved, Version
from zoo.zoo import Zoo

__all__ = ["Backbone", "Live", "Move", "Promotion", "Resolved", "Version", "Zoo", "ZooError"]
