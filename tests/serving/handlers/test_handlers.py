"""Handlers without a wire: an engine on a fake runtime, and plain values in and out."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest

from serving.engine import Engine
from serving.errors import InvalidRequest, Overloaded, Unavailable, UnknownModel
from serving.handlers import AccessLog, Admission, Asker, InferenceHandler, ModelsHandler
from serving.handlers.asked import asked_heads
from serving.handlers.inference import InferRequest
from serving.plan import ServedVersion
from tests.support.fake_runtime import IDS, PREPROCESSING, FakeRuntime, expected, loaded_plan, row, served
from zoo.errors import InvalidInput
from zoo.manifest import Preprocessing, TensorPreprocessing, TensorSpec
from zoo.preprocessing import Row
from zoo.preprocessing.row import Raw

T = TypeVar("T")

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
TAG = served("tag", ["body/0", "tag"])
OTHER_MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
OTHER = served(
    "other",
    ["body/0", "other"],
    preprocessing=TensorPreprocessing(tensors=(OTHER_MASK, IDS)),  # the same tensors, declared differently
)


def ids_of(*rows: list[int]) -> dict[str, Any]:
    array = np.array(rows)
    return {"ids_NT": array, "mask_NT": np.ones_like(array)}


class Desk:
    """Everything that handlers share, on a fake runtime."""

    def __init__(self, *versions: ServedVersion) -> None:
        self.runtime = FakeRuntime()
        loaded = loaded_plan(versions, self.runtime)
        self.preprocessors = dict(loaded.preprocessors)
        self.engine = Engine(replace(loaded, preprocessors=self.preprocessors), self.runtime)
        self.engine.start()
        self.asker = Asker(self.engine, max_request_rows=4)
        self.admission = Admission()
        self.log = AccessLog(asyncio.get_running_loop().time)
        self.inference = InferenceHandler(self.asker, self.admission, self.log)
        self.models = ModelsHandler(self.asker, self.admission, platform="hydrazoo_fake", device="cpu")


def at_desk(work: Callable[[Desk], Awaitable[T]], *versions: ServedVersion) -> T:
    """Run ``work`` at a desk with these versions, and close it."""

    async def run() -> T:
        desk = Desk(*(versions or (INTENT, URGENCY, TAG)))
        try:
            return await work(desk)
        finally:
            await desk.engine.close()
            desk.asker.close()

    return asyncio.run(run())


def test_several_heads_share_every_stage_of_their_common_prefix() -> None:
    async def work(desk: Desk) -> None:
        request = InferRequest(model="intent+urgency+tag", inputs=ids_of([3, 4], [5, 6]))
        response = await desk.inference.infer(request, deadline=None)
        assert list(response.outputs) == ["intent/total_N1", "urgency/total_N1", "tag/tags_NT"]
        for version in (INTENT, URGENCY, TAG):
            (output,) = (array for name, array in response.outputs.items() if name.startswith(version.head))
            np.testing.assert_array_equal(output, [expected(version, [3, 4]), expected(version, [5, 6])])
        assert sorted(desk.runtime.calls) == [
            ("body/0", 2),
            ("body/1", 2),
            ("intent", 2),
            ("tag", 2),
            ("urgency", 2),
        ]

    at_desk(work)


def test_heads_that_preprocess_differently_still_answer_in_one_call() -> None:
    assert OTHER.preprocessing != INTENT.preprocessing == PREPROCESSING.content_digest()

    async def work(desk: Desk) -> None:
        request = InferRequest(model="intent+other", inputs=ids_of([3, 4]))
        response = await desk.inference.infer(request, deadline=None)
        np.testing.assert_array_equal(response.outputs["intent/total_N1"], [expected(INTENT, [3, 4])])
        np.testing.assert_array_equal(response.outputs["other/total_N1"], [expected(OTHER, [3, 4])])

    at_desk(work, INTENT, OTHER)


def test_a_bad_row_is_named_and_nothing_of_the_request_runs() -> None:
    async def work(desk: Desk) -> None:
        inputs = {"ids_NT": np.ones((2, 2), np.int64), "mask_NT": np.ones((2, 3), np.int64)}
        with pytest.raises(InvalidInput, match="Row 0 of 2: "):
            await desk.inference.infer(InferRequest(model="intent", inputs=inputs), deadline=None)
        assert desk.runtime.calls == []

    at_desk(work)


def test_more_rows_than_a_request_may_hold_are_refused() -> None:
    async def work(desk: Desk) -> None:
        with pytest.raises(InvalidRequest, match="has 5 rows; send 1 to 4"):
            await desk.inference.infer(InferRequest(model="intent", inputs=ids_of(*[[1]] * 5)), deadline=None)

    at_desk(work)


def test_rows_are_counted_once_for_each_way_to_preprocess_them() -> None:
    async def work(desk: Desk) -> None:
        request = InferRequest(model="intent+other", inputs=ids_of(*[[1]] * 3))
        with pytest.raises(InvalidRequest, match=r"3 rows, for heads of 2 ways to preprocess each; .* at most 4"):
            await desk.inference.infer(request, deadline=None)

    at_desk(work, INTENT, OTHER)


def test_a_request_too_big_for_the_loop_is_preprocessed_in_a_thread() -> None:
    async def work(desk: Desk) -> None:
        long = list(range(2000))
        response = await desk.inference.infer(InferRequest(model="tag", inputs=ids_of(long)), deadline=None)
        np.testing.assert_array_equal(response.outputs["tags_NT"], [expected(TAG, long)])

    at_desk(work)


class SlowPreprocessor:
    """Takes images, and waits in each until it is let go; notes on which threads."""

    spec: Preprocessing = PREPROCESSING
    declared = (IDS, OTHER_MASK)

    def __init__(self) -> None:
        self.released = threading.Event()
        self.threads: list[str] = []

    def __call__(self, raw: Raw) -> Row:
        self.threads.append(threading.current_thread().name)
        self.released.wait(10)
        return row(1, 2)


def at_slow_desk(work: Callable[[Desk, SlowPreprocessor], Awaitable[T]]) -> T:
    slow = SlowPreprocessor()

    async def run(desk: Desk) -> T:
        desk.preprocessors[INTENT.preprocessing] = slow
        try:
            return await work(desk, slow)
        finally:
            slow.released.set()

    return at_desk(run, INTENT)


def test_an_image_is_never_decoded_on_the_event_loop_however_few_bytes_it_has() -> None:
    async def work(desk: Desk, slow: SlowPreprocessor) -> None:
        slow.released.set()
        await desk.asker.ask([b"a bomb of few bytes"], [INTENT], loaded=desk.engine.loaded, deadline=None)
        assert slow.threads
        assert threading.current_thread().name not in slow.threads

    at_slow_desk(work)


def test_inputs_that_wait_for_preprocessing_are_bounded_as_those_that_wait_for_the_device() -> None:
    async def work(desk: Desk, slow: SlowPreprocessor) -> None:
        asker = Asker(desk.engine, max_request_rows=4, max_preparing_rows=6, max_preparing_bytes=100)
        first = asyncio.ensure_future(asker.ask([b"image"] * 4, [INTENT], loaded=desk.engine.loaded, deadline=None))
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match=r"4 rows .* are being preprocessed"):
            await asker.ask([b"image"] * 3, [INTENT], loaded=desk.engine.loaded, deadline=None)
        with pytest.raises(Overloaded, match="20 bytes"):
            await asker.ask([bytes(90)], [INTENT], loaded=desk.engine.loaded, deadline=None)
        slow.released.set()
        assert len(await first) == 4
        assert len(await asker.ask([bytes(200)], [INTENT], loaded=desk.engine.loaded, deadline=None)) == 1, (
            "alone, any size is let in"
        )
        asker.close()

    at_slow_desk(work)


def test_a_closed_door_refuses_and_waits_for_those_inside() -> None:
    async def run() -> None:
        admission = Admission()
        with admission.enter():
            admission.close()
            with pytest.raises(Unavailable, match="stopping"), admission.enter():
                pass
            waiting = asyncio.ensure_future(admission.wait_until_empty())
            await asyncio.sleep(0)
            assert not waiting.done()
        await asyncio.wait_for(waiting, 1)
        assert admission.in_flight == 0

    asyncio.run(run())


def test_a_model_is_not_ready_once_the_door_is_closed() -> None:
    async def work(desk: Desk) -> None:
        assert desk.models.is_model_ready("intent+tag", "")
        desk.admission.close()
        assert not desk.models.is_model_ready("intent", "")
        assert not desk.models.is_ready
        assert desk.models.index(ready_only=True) == []
        assert [entry.ready for entry in desk.models.index(ready_only=False)] == [False, False, False]

    at_desk(work)


def test_ready_tensors_are_the_inputs_of_heads_that_take_nothing_else() -> None:
    async def work(desk: Desk) -> None:
        described = desk.models.describe("intent+tag", "")
        assert [(tensor.name, tensor.shape) for tensor in described.inputs] == [
            ("ids_NT", (-1, -1)),
            ("mask_NT", (-1, -1)),
        ]
        assert described.ready_inputs == ()
        assert [tensor.name for tensor in described.outputs] == ["intent/total_N1", "tag/tags_NT"]

    at_desk(work)


@pytest.mark.parametrize("name", ["intent+intent", "intent+urgency+intent"])
def test_a_head_is_asked_once(name: str) -> None:
    with pytest.raises(InvalidRequest, match="asks a head twice"):
        asked_heads(loaded_plan([INTENT, URGENCY], FakeRuntime()).plan, name, "")


@pytest.mark.parametrize("name", ["", "+", "intent+", "intent+nope"])
def test_every_part_of_a_name_is_a_head(name: str) -> None:
    with pytest.raises((UnknownModel, InvalidRequest)):
        asked_heads(loaded_plan([INTENT, URGENCY], FakeRuntime()).plan, name, "")
