"""What a front end and the engine say to each other: requests one way, answers the other way, both as bytes.

The first byte of a message is its ``Kind``. Times are seconds of ``CLOCK_MONOTONIC``, which all processes of a machine
share, so that an arrival and a deadline mean the same on both sides.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from serving.batching import Priority
from serving.errors import Overloaded, ServingError
from serving.frontends.packing import Packer, Unpacker
from serving.request import Trace
from serving.runtimes.base import Arrays
from zoo.preprocessing import Row

__all__ = ["Kind", "Submission", "answers", "failed", "numbered", "read_answers", "read_failed", "read_number"]
__all__ += ["read_submission", "read_worded", "submission", "worded"]


class Kind(IntEnum):
    """What a message says. Those of the engine come first, those of a front end from 32 on."""

    PLAN = 1
    """A plan to answer with from now on; JSON."""
    ANSWERS = 2
    FAILED = 3
    """A call that is refused or failed."""
    COUNTED = 4
    """What versions did; JSON."""
    STATE = 5
    """Whether callers are let in, and what health says; JSON."""
    DRAIN = 6
    """Finish what is in flight, and leave."""

    ADMITS = 32
    """Callers are let in from now on."""
    SUBMIT = 33
    CANCEL = 34
    """Nobody waits for a call any more."""
    TAKEN = 35
    """The plan of this number is answered with."""
    RELEASED = 36
    """No request needs the plan of this number any more."""
    COUNT = 37
    """Asks what versions did; JSON."""
    COUNTED_HERE = 38
    """What handlers counted since they said so last; JSON."""


_NUMBERED = struct.Struct("<BQ")
_SUBMISSION = struct.Struct("<BQIBddI")
_ROW = struct.Struct("<I")
_TRACE = struct.Struct("<dddIII")
_STAGE = struct.Struct("<dd")
_PRESENT = struct.Struct("<?")
_RETRY = struct.Struct("<d")
_COUNTS = struct.Struct("<II")


def _kinds(root: type[ServingError]) -> Iterator[type[ServingError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


_ERRORS = {kind.code: kind for kind in _kinds(ServingError)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """One call of ``submit_all``, with versions by their place in the plan."""

    call: int
    plan: int
    priority: Priority
    arrived_s: float
    deadline_s: float
    """Infinity if there is none."""
    served: tuple[int, ...]
    shadows: tuple[int, ...]
    rows: tuple[Row, ...]
    """Without their texts, which the front end keeps."""


def numbered(kind: Kind, number: int = 0) -> bytes:
    """Write a message that says no more than a number: of a call or of a plan."""
    return _NUMBERED.pack(kind, number)


def read_number(message: memoryview) -> int:
    """Return the number that a message begins with; every one but ``SUBMIT`` does."""
    number: int = _NUMBERED.unpack_from(message)[1]
    return number


def worded(kind: Kind, text: bytes, number: int = 0) -> bytes:
    """Write a message of JSON."""
    return _NUMBERED.pack(kind, number) + text


def read_worded(message: memoryview) -> tuple[int, bytes]:
    """Return the number and the JSON of such a message."""
    return read_number(message), bytes(message[_NUMBERED.size :])


def submission(asked: Submission) -> bytes:
    """Write a call."""
    packer = Packer()
    packer.pack(
        _SUBMISSION,
        Kind.SUBMIT,
        asked.call,
        asked.plan,
        asked.priority,
        asked.arrived_s,
        asked.deadline_s,
        len(asked.rows),
    )
    packer.integers(asked.served)
    packer.integers(asked.shadows)
    for row in asked.rows:
        packer.pack(_ROW, row.length)
        packer.text(row.digest)
        packer.arrays(row.tensors)
    return packer.done()


def read_submission(message: memoryview) -> Submission:
    """Read a call."""
    unpacker = Unpacker(message)
    _, call, plan, priority, arrived_s, deadline_s, rows = unpacker.unpack(_SUBMISSION)
    return Submission(
        call=call,
        plan=plan,
        priority=Priority(priority),
        arrived_s=arrived_s,
        deadline_s=deadline_s,
        served=unpacker.integers(),
        shadows=unpacker.integers(),
        rows=tuple(_read_row(unpacker) for _ in range(rows)),
    )


def answers(call: int, versions: Sequence[str], rows: Sequence[Mapping[str, Arrays]], trace: Trace) -> bytes:
    """Write the answers to a call.

    Args:
        call: its number.
        versions: digests of the versions that it asked for, shadows included, in the order of its submission.
        rows: for each row, by version digest, what that answered; a shadow may be missing.
        trace: when what happened to it in the engine; what came before, the front end knows.
    """
    packer = Packer()
    packer.pack(_NUMBERED, Kind.ANSWERS, call)
    packer.pack(_TRACE, trace.queued_s, trace.began_s, trace.ended_s, trace.batch_rows, trace.cached, len(trace.stages))
    for name, began_s, ended_s in trace.stages:
        packer.pack(_STAGE, began_s, ended_s)
        packer.text(name)
    packer.pack(_COUNTS, len(rows), len(versions))
    for row in rows:
        for digest in versions:
            packer.pack(_PRESENT, digest in row)
            if digest in row:
                packer.arrays(row[digest])
    return packer.done()


def read_answers(message: memoryview, versions: Sequence[str], trace: Trace | None) -> list[dict[str, Arrays]]:
    """Read answers.

    Args:
        message: what ``answers`` wrote.
        versions: the digests of the call, in the order of its submission.
        trace: gets what the engine noted, if anybody wants to know.
    """
    unpacker = Unpacker(message)
    unpacker.unpack(_NUMBERED)
    _read_trace(unpacker, trace or Trace())
    rows, count = unpacker.unpack(_COUNTS)
    assert count == len(versions), "answers come for what was asked"
    found: list[dict[str, Arrays]] = []
    for _ in range(rows):
        present = ((digest, *unpacker.unpack(_PRESENT)) for digest in versions)
        found.append({digest: unpacker.arrays() for digest, is_there in present if is_there})
    return found


def failed(call: int, error: ServingError) -> bytes:
    """Write why a call was not answered."""
    packer = Packer()
    packer.pack(_NUMBERED, Kind.FAILED, call)
    packer.pack(_RETRY, error.retry_after_s if isinstance(error, Overloaded) else 0.0)
    packer.text(error.code)
    packer.text(str(error))
    return packer.done()


def read_failed(message: memoryview) -> ServingError:
    """Return the error that the engine raised."""
    unpacker = Unpacker(message)
    unpacker.unpack(_NUMBERED)
    (retry_after_s,) = unpacker.unpack(_RETRY)
    kind, text = _ERRORS[unpacker.text()], unpacker.text()
    return Overloaded(text, retry_after_s=retry_after_s) if kind is Overloaded else kind(text)


def _read_row(unpacker: Unpacker) -> Row:
    (length,) = unpacker.unpack(_ROW)
    digest = unpacker.text()
    return Row(tensors=unpacker.arrays(), length=length, digest=digest)


def _read_trace(unpacker: Unpacker, trace: Trace) -> None:
    queued_s, began_s, ended_s, batch_rows, cached, stages = unpacker.unpack(_TRACE)
    trace.queued_s = queued_s
    if began_s:  # a call may be several of these, for inputs that are prepared differently
        trace.began_s = min(began_s, trace.began_s or began_s)
    trace.ended_s = max(ended_s, trace.ended_s)
    trace.batch_rows = max(batch_rows, trace.batch_rows)
    trace.cached += cached
    for _ in range(stages):
        stage_began_s, stage_ended_s = unpacker.unpack(_STAGE)
        trace.stages.append((unpacker.text(), stage_began_s, stage_ended_s))
