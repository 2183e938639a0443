"""What a team tests its head with, in its own pytest files.

``model = model_of(HEAD)`` is the built head as a fixture; ``minimum_functionality``, ``invariance``, ``directional``
and ``slices`` say what is expected of it, with the changes of inputs that are listed here; ``labels_hold`` checks the
labels. What is not as expected is shown in a table. docs/testing-heads.md has the examples.
"""

from heads.base.testing.bounds import slices
from heads.base.testing.expectations import ExpectationMissed, directional, invariance, minimum_functionality
from heads.base.testing.images import brighter, rotated
from heads.base.testing.labels import labels_hold
from heads.base.testing.loading import model_of
from heads.base.testing.model import Model
from heads.base.testing.perturbations import append, casing, names, numbers, punctuation, spaces, typos
from heads.base.testing.rates import Rate

__all__ = [
    "ExpectationMissed",
    "Model",
    "Rate",
    "append",
    "brighter",
    "casing",
    "directional",
    "invariance",
    "labels_hold",
    "minimum_functionality",
    "model_of",
    "names",
    "numbers",
    "punctuation",
    "rotated",
    "slices",
    "spaces",
    "typos",
]
