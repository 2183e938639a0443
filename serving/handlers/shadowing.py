"""A shadow's answers, compared with those that callers got: counted all, and logged a few.

Nothing here touches an answer, and it happens when the answer is on its way. No input is logged, only its digest, and
of what was found in it only labels and places.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence

import numpy as np

from serving.handlers.asked import Asked
from serving.handlers.asking import Answered
from serving.plan import ServedVersion
from serving.statistics import ShadowOutcome
from zoo.answers import Classification, Decoded, Embedding, Multilabel, Regression, Segmentation, Tagging, decode
from zoo.errors import ZooError
from zoo.masks import Mask

__all__ = ["Shadowing", "difference"]

logger = logging.getLogger("serving.shadow")

LOG_EVERY_S = 1.0
"""Of a head's disagreements at most one in this time is logged; all are counted."""

TOLERANCE = 0.01
"""How far two values of a regression may lie apart and agree, as a part of the range that it declares.

Of a mask it is the part of the pixels that may have another label, of two vectors how far their cosine may be from 1.
"""


class Shadowing:
    """Compares, counts and logs. Lives on one event loop.

    Args:
        record: counts one row of a shadow.
        clock: monotonic seconds.
    """

    def __init__(self, record: Callable[[ServedVersion, ShadowOutcome], None], clock: Callable[[], float]) -> None:
        self._record = record
        self._clock = clock
        self._logged_s: dict[str, float] = {}
        self._passed_over: dict[str, int] = {}

    def compare_soon(self, asked: Sequence[Asked], answers: Sequence[Answered]) -> None:
        """Compare every shadow of a request with what answered, once the loop has sent the answer off."""
        shadowed = [one for one in asked if one.shadows]
        if shadowed:
            asyncio.get_running_loop().call_soon(self._compare, shadowed, answers)

    def _compare(self, shadowed: Sequence[Asked], answers: Sequence[Answered]) -> None:
        for one in shadowed:
            for answered in answers:
                live = _decoded(one.served, answered)
                if live is not None:
                    for shadow in one.shadows:
                        self._judge(one, live, shadow, answered)

    def _judge(self, one: Asked, live: Decoded, shadow: ServedVersion, answered: Answered) -> None:
        other = _decoded(shadow, answered)
        if other is None:
            self._record(shadow, "failed")
            return
        found = difference(live, other)
        self._record(shadow, "disagreed" if found else "agreed")
        if found:
            self._log(one, shadow, found, answered.rows[one.served.preprocessing].digest)

    def _log(self, one: Asked, shadow: ServedVersion, found: str, digest: str) -> None:
        now_s, head = self._clock(), shadow.head
        if now_s - self._logged_s.get(head, -LOG_EVERY_S) < LOG_EVERY_S:
            self._passed_over[head] = self._passed_over.get(head, 0) + 1
            return
        self._logged_s[head] = now_s
        logger.info(
            "shadow=%s live=%s alias=%s input=%s difference=%s not_logged=%d",
            shadow,
            one.served,
            one.alias,
            digest,
            json.dumps(found, ensure_ascii=False),
            self._passed_over.pop(head, 0),
        )


def difference(live: Decoded, shadow: Decoded) -> str:
    """Return how a shadow's answer differs from the live one; empty if they agree.

    >>> scores = {"refund": 0.6, "greeting": 0.4}
    >>> difference(Classification(label="refund", scores=scores), Classification(label="greeting", scores=scores))
    "'refund' became 'greeting'"
    >>> difference(Regression(value=5.0, low=0, high=10), Regression(value=5.05, low=0, high=10))
    ''
    """
    if type(live) is not type(shadow):
        return f"{type(live).__name__} became {type(shadow).__name__}"
    if isinstance(live, Regression) and isinstance(shadow, Regression):
        near = abs(live.value - shadow.value) <= TOLERANCE * (live.high - live.low)
        return "" if near else f"{live.value:g} became {shadow.value:g}"
    if isinstance(live, Embedding) and isinstance(shadow, Embedding):
        return _turned(live.vector, shadow.vector)
    if isinstance(live, Segmentation) and isinstance(shadow, Segmentation):
        return _relabelled(live.mask, shadow.mask)
    one, other = _gist(live), _gist(shadow)
    return "" if one == other else f"{one!r} became {other!r}"


def _turned(one: Sequence[float], other: Sequence[float]) -> str:
    """Return the cosine of the angle between two vectors of length 1; empty if it is near 1."""
    if len(one) != len(other):
        return f"{len(one)} numbers became {len(other)}"
    cosine = float(np.dot(one, other))
    return "" if cosine >= 1 - TOLERANCE else f"a vector turned; the cosine is {cosine:.3f}"


def _relabelled(one: Mask, other: Mask) -> str:
    """Return which share of the pixels has another label; empty if few have."""
    if (one.height, one.width) != (other.height, other.width):
        return f"{one.width} × {one.height} pixels became {other.width} × {other.height}"
    share = float((one.array != other.array).mean())
    return "" if share <= TOLERANCE else f"{share:.1%} of the pixels have another label"


def _gist(answer: Decoded) -> object:
    """Return what of an answer counts, without scores and without the caller's text."""
    match answer:
        case Classification():
            return answer.label
        case Multilabel():
            return sorted(answer.labels)
        case Regression():
            return answer.value
        case Tagging():
            return [(span.label, span.start, span.end) for span in answer.spans]
        case Embedding():
            return answer.vector
        case Segmentation():
            return answer.mask


def _decoded(version: ServedVersion, answered: Answered) -> Decoded | None:
    """Return what a version answered; None if it did not run, or its outputs are no answer."""
    outputs = answered.outputs.get(version.digest)
    if outputs is None:
        return None
    try:
        return decode(version.manifest.answer, outputs, answered.rows[version.preprocessing])
    except ZooError:
        return None
