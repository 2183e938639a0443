from dataclasses import fields
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray

from serving.batching import Priority
from serving.errors import Overloaded, ServingError
from serving.frontends import messages
from serving.frontends.messages import Kind, Submission
from serving.request import Trace
from zoo.preprocessing import Row

DTYPES = st.sampled_from(["bool", "int8", "uint8", "int32", "int64", "float16", "float32", "float64"])
TENSORS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=9),
    DTYPES.flatmap(lambda dtype: arrays.arrays(dtype, arrays.array_shapes(min_dims=0, min_side=0, max_side=5))),
    max_size=3,
)
FULL = Trace(queued_s=1.5, began_s=2.5, ended_s=3.5, stages=[("body/0", 2.5, 3.0)], batch_rows=7, cached=2)


def same(one: dict[str, NDArray[Any]], other: dict[str, NDArray[Any]]) -> bool:
    return list(one) == list(other) and all(
        a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
        for a, b in zip(one.values(), other.values(), strict=True)
    )


@settings(deadline=None, max_examples=50)
@given(
    rows=st.lists(st.tuples(TENSORS, st.integers(0, 1 << 20), st.text("0123456789abcdef", max_size=64)), max_size=4),
    served=st.lists(st.integers(0, 5000), max_size=5).map(tuple),
    shadows=st.lists(st.integers(0, 5000), max_size=2).map(tuple),
    priority=st.sampled_from(Priority),
    deadline_s=st.one_of(st.just(inf), st.floats(0, 1e9)),
)
def test_a_submission_arrives_as_it_was_sent(rows, served, shadows, priority, deadline_s) -> None:  # type: ignore[no-untyped-def]
    sent = Submission(
        call=1 << 40,
        plan=3,
        priority=priority,
        arrived_s=12.25,
        deadline_s=deadline_s,
        served=served,
        shadows=shadows,
        rows=tuple(Row(tensors=tensors, length=length, digest=digest) for tensors, length, digest in rows),
    )
    message = memoryview(messages.submission(sent))
    assert message[0] == Kind.SUBMIT
    found = messages.read_submission(message)
    for field in fields(Submission):
        if field.name != "rows":
            assert getattr(found, field.name) == getattr(sent, field.name)
    assert len(found.rows) == len(sent.rows)
    for came, went in zip(found.rows, sent.rows, strict=True):
        assert (came.length, came.digest) == (went.length, went.digest)
        assert same(dict(came.tensors), dict(went.tensors))


@settings(deadline=None, max_examples=50)
@given(rows=st.lists(st.tuples(TENSORS, st.one_of(st.none(), TENSORS)), max_size=4))
def test_answers_arrive_as_they_were_given_and_a_shadow_may_be_missing(rows) -> None:  # type: ignore[no-untyped-def]
    sent = [{"live": live, **({} if shadow is None else {"shadow": shadow})} for live, shadow in rows]
    trace = Trace()
    message = memoryview(messages.answers(9, ["live", "shadow"], sent, FULL))
    found = messages.read_answers(message, ["live", "shadow"], trace)
    assert messages.read_number(message) == 9
    assert trace == FULL
    assert [list(row) for row in found] == [list(row) for row in sent]
    for came, went in zip(found, sent, strict=True):
        assert all(same(dict(came[name]), dict(went[name])) for name in went)


def test_all_that_a_trace_can_say_is_carried() -> None:
    known_before = {"arrived_s", "submitted"}
    carried = {field.name for field in fields(Trace) if getattr(FULL, field.name)}
    assert carried == {field.name for field in fields(Trace)} - known_before, "a new field: carry it, and set it above"


def test_a_call_of_two_submissions_has_one_trace() -> None:
    trace = Trace(arrived_s=1.0)
    later = Trace(queued_s=2.0, began_s=5.0, ended_s=6.0, stages=[("image", 5.0, 6.0)], batch_rows=3, cached=1)
    for each in (FULL, later, Trace(queued_s=2.25)):
        messages.read_answers(memoryview(messages.answers(9, [], [], each)), [], trace)
    assert trace == Trace(
        arrived_s=1.0,
        queued_s=2.25,
        began_s=2.5,
        ended_s=6.0,
        stages=[("body/0", 2.5, 3.0), ("image", 5.0, 6.0)],
        batch_rows=7,
        cached=3,
    )


def kinds(root: type[ServingError]) -> list[type[ServingError]]:
    return [root, *(kind for below in root.__subclasses__() for kind in kinds(below))]


@pytest.mark.parametrize("kind", kinds(ServingError))
def test_every_error_of_the_engine_is_the_same_error_in_the_front_end(kind: type[ServingError]) -> None:
    found = messages.read_failed(memoryview(messages.failed(1, kind("what, found, expected"))))
    assert type(found) is kind
    assert str(found) == "what, found, expected"


def test_an_overloaded_engine_says_when_to_try_again_through_the_front_end_too() -> None:
    found = messages.read_failed(memoryview(messages.failed(1, Overloaded("full", retry_after_s=0.75))))
    assert isinstance(found, Overloaded)
    assert found.retry_after_s == 0.75
