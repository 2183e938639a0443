"""Small heads of one architecture, run as one operation on the weights of all that are wanted.

Their graph is the same, so one session serves them all, and what does not depend on weights (pooling, normalisation)
is computed once. Each head brings nothing but its weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from serving.runtimes.base import Arrays, DeviceTensors

__all__ = ["CALL_PAIRS", "Call", "Group", "Member", "split"]

CALL_PAIRS = 128
"""How many (head, row) pairs take as long as one call more. On MiniLM's tokens a call is 16 us in ONNX Runtime and
about twice that around it, and a pair 0.1 us for a linear head, 0.4 us for one with 64 hidden units."""


class Group(Protocol):
    """What the heads of one architecture have in common: their graph, loaded once."""

    def run(self, members: Sequence["Member"], tensors: DeviceTensors) -> Arrays:
        """Run several of its heads on the same rows.

        Args:
            members: H of them.
            tensors: the declared inputs, by name, with N rows.

        Returns:
            The declared outputs in host memory, by name, each (H, N, …).
        """
        ...

    def alone(self, member: "Member", tensors: DeviceTensors) -> DeviceTensors:
        """Run one of its heads; return its outputs, each (N, …), on the device."""
        ...


class Member:
    """One head of a group; an ``Executable`` too, which runs it alone.

    Args:
        group: what runs it.
        stage_digest: names its weights.
        weights: by the name of the graph's input, without the axis of heads.
    """

    __slots__ = ("group", "stage_digest", "weights")

    def __init__(self, group: Group, stage_digest: str, weights: Arrays) -> None:
        self.group = group
        self.stage_digest = stage_digest
        self.weights = weights

    def __call__(self, tensors: DeviceTensors) -> DeviceTensors:
        """Run it alone; see ``Executable``."""
        return self.group.alone(self, tensors)


@dataclass(frozen=True, slots=True)
class Call:
    """Heads, by position in what was asked, and the rows that all of them run on."""

    heads: tuple[int, ...]
    rows: tuple[int, ...]


def split(wanted: Sequence[Sequence[int]]) -> list[Call]:
    """Decide which heads of a group run together.

    A call computes every one of its heads on every one of its rows, wanted or not. Heads that want the same rows share
    a call, which wastes nothing. Then the next is merged into the call before it wherever the pairs computed in vain
    cost less than the call that it saves.

    Args:
        wanted: for each head the rows that want it, ascending, at least one.

    Returns:
        Calls that together have every wanted pair, each head in one of them.

    >>> split([(0, 1), (0, 1), (2,)])
    [Call(heads=(0, 1, 2), rows=(0, 1, 2))]
    >>> [call.heads for call in split([range(0, 100), range(100, 200)])]
    [(0,), (1,)]
    """
    alike: dict[tuple[int, ...], list[int]] = {}
    for head, rows in enumerate(wanted):
        alike.setdefault(tuple(rows), []).append(head)
    calls: list[Call] = []
    for rows, heads in alike.items():
        call = Call(tuple(heads), rows)
        if calls:
            merged = _merged(calls[-1], call)
            if _cost(merged) <= _cost(calls[-1]) + _cost(call):
                calls[-1] = merged
                continue
        calls.append(call)
    return calls


def _merged(one: Call, other: Call) -> Call:
    return Call(one.heads + other.heads, tuple(sorted({*one.rows, *other.rows})))


def _cost(call: Call) -> int:
    return CALL_PAIRS + len(call.heads) * len(call.rows)
