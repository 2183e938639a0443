from typing import Any

import numpy as np
from hydrazoo.predict.v1 import predict_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidRequest
from serving.grpc.alike import MAX_ALIKE, SMALL_BYTES, Unit, units_of
from serving.grpc.caller import Caller
from serving.grpc.predict_messages import predict_request
from serving.handlers.call import NOBODY
from serving.handlers.predict import PredictRequest


def decode(message: pb.PredictRequest) -> PredictRequest:
    return predict_request(message, Caller(NOBODY, "somebody"))


def tensors(number: int = 0, size: int = 4, **fields: Any) -> pb.StreamedRequest:
    data = np.zeros(size, np.float32)
    tensor = pb.Tensor(name="x", dtype="float32", shape=data.shape, data=data.tobytes())
    request = pb.PredictRequest(**({"heads": [{"name": "intent"}], "tensors": {"tensors": [tensor]}} | fields))
    return pb.StreamedRequest(id=number, request=request)


def ids(units: list[Unit]) -> list[list[int]]:
    return [unit.ids for unit in units]


def test_requests_of_small_tensors_that_ask_the_same_are_one_unit() -> None:
    assert ids(units_of([tensors(1), tensors(2), tensors(3)], decode)) == [[1, 2, 3]]


def test_a_unit_is_bounded() -> None:
    units = units_of([tensors(number) for number in range(2 * MAX_ALIKE + 1)], decode)
    assert [len(unit) for unit in units] == [MAX_ALIKE, MAX_ALIKE, 1]


def test_whatever_differs_but_the_input_keeps_requests_apart() -> None:
    late = tensors(9)
    late.timeout_us = 5
    different = [
        tensors(1),
        tensors(2, heads=[{"name": "urgency"}]),
        tensors(3, heads=[{"name": "intent", "number": 7}]),
        tensors(4, heads=[{"name": "intent"}, {"name": "urgency"}]),
        tensors(5, priority=pb.PRIORITY_HIGH),
        tensors(6, routing_key="ada"),
        tensors(7, request_id="mine"),
        tensors(8, request_id="mine"),
        late,
    ]
    assert ids(units_of(different, decode)) == [[number] for number in range(1, 10)]


def test_texts_and_large_tensors_stay_alone() -> None:
    large = SMALL_BYTES // 4 + 1
    text = pb.PredictRequest(heads=[{"name": "intent"}], text="hi")
    streamed = [tensors(1, large), tensors(2, large), *(pb.StreamedRequest(id=n, request=text) for n in (3, 4))]
    assert ids(units_of(streamed, decode)) == [[1], [2], [3], [4]]


def test_what_cannot_be_decoded_says_why_and_parts_nobody() -> None:
    units = units_of([tensors(1), pb.StreamedRequest(id=2), tensors(3)], decode)
    assert ids(units) == [[1, 3], [2]]
    assert isinstance(units[1].error, InvalidRequest)
    assert len(units[1]) == 1


@given(st.lists(st.tuples(st.sampled_from(["intent", "urgency"]), st.booleans()), max_size=80))
def test_every_request_is_in_one_unit_with_others_of_its_kind(asked: list[tuple[str, bool]]) -> None:
    streamed = [
        tensors(number, heads=[{"name": head}], routing_key="ada" if keyed else "")
        for number, (head, keyed) in enumerate(asked)
    ]
    units = units_of(streamed, decode)
    assert sorted(number for unit in units for number in unit.ids) == list(range(len(asked)))
    for unit in units:
        assert len({asked[number] for number in unit.ids}) == 1
        assert len(unit.requests) == len(unit) <= MAX_ALIKE
