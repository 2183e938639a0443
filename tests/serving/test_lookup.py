from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.cache import NodeCache
from serving.execution import Answers, Execution
from serving.plan import LoadedPlan, ServedVersion
from tests.support.asked import Asked, answer_all
from tests.support.fake_runtime import IDS, MASK, TOTAL, FakeRuntime, expected, loaded_plan, row, served
from zoo.manifest import Signature

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
DEEP = served("deep", ["body/0", "body/1", "body/2", "body/3", "deep"])
TAG = served("tag", ["body/0", "tag"])
WITH_IDS = served(
    "with-ids", ["body/0", "body/1", "with-ids"], signature=Signature(inputs=(IDS, MASK), outputs=(TOTAL, IDS))
)
VERSIONS = (INTENT, URGENCY, DEEP, TAG, WITH_IDS)
PLENTY = 1 << 20


def execution_of(
    versions: Sequence[ServedVersion], runtime: FakeRuntime, cache: NodeCache
) -> tuple[LoadedPlan, Execution]:
    loaded = loaded_plan(versions, runtime)
    return loaded, Execution(loaded, runtime, lambda: 0.0, cache)


def answer(loaded: LoadedPlan, execution: Execution, ids: Sequence[int], versions: Sequence[ServedVersion]) -> Answers:
    (route,) = loaded.plan.routes(versions)
    answers, _ = answer_all(execution, [(row(*ids), route)])
    return answers[0]


def assert_right(answers: Answers, ids: Sequence[int], versions: Sequence[ServedVersion]) -> None:
    assert answers.keys() == {version.digest for version in versions}
    for version in versions:
        found = answers[version.digest][version.manifest.answer.output]
        np.testing.assert_array_equal(found, expected(version, ids))
        if version is WITH_IDS:
            np.testing.assert_array_equal(answers[version.digest]["ids_NT"], ids)


def test_an_input_that_was_answered_runs_nothing() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(PLENTY))
    answer(loaded, execution, [1, 2], [INTENT, TAG])
    runtime.calls.clear()
    (route,) = loaded.plan.routes([INTENT, TAG])
    found = execution.lookup(route, row(1, 2))
    assert found.route is None
    assert_right(found.answers, [1, 2], [INTENT, TAG])
    assert runtime.calls == []


def test_another_head_on_an_input_that_was_seen_runs_that_head_alone() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(PLENTY))
    answer(loaded, execution, [1, 2], [INTENT])
    runtime.calls.clear()
    assert_right(answer(loaded, execution, [1, 2], [INTENT, URGENCY]), [1, 2], [INTENT, URGENCY])
    assert runtime.calls == [("urgency", 1)]


def test_a_row_starts_at_the_deepest_node_that_is_above_all_that_is_left() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(PLENTY))
    answer(loaded, execution, [1, 2], [INTENT])
    for wanted, calls in (([DEEP], {"body/2", "body/3", "deep"}), ([URGENCY, TAG], {"body/1", "urgency", "tag"})):
        runtime.calls.clear()
        assert_right(answer(loaded, execution, [1, 2], wanted), [1, 2], wanted)
        assert {name for name, _ in runtime.calls} == calls


def test_a_route_that_starts_below_visits_only_what_is_below() -> None:
    loaded, execution = execution_of(VERSIONS, FakeRuntime(), NodeCache(PLENTY))
    answer(loaded, execution, [1, 2], [INTENT])
    (whole,) = loaded.plan.routes([URGENCY])
    found = execution.lookup(whole, row(1, 2))
    assert found.route is not None
    assert found.route.paths == whole.paths[-1:]
    assert found.start.path == whole.paths[1]
    assert found.features.keys() >= {"tokens_NT"}


def test_rows_of_different_lengths_that_start_below_the_body_share_a_batch() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(PLENTY))
    inputs = ([1], [2, 3, 4], [5, 6])
    for ids in inputs:
        answer(loaded, execution, ids, [INTENT])
    runtime.calls.clear()
    (route,) = loaded.plan.routes([URGENCY])
    answers, _ = answer_all(execution, [(row(*ids), route) for ids in inputs])
    assert runtime.calls == [("urgency", 3)]
    for ids, each in zip(inputs, answers, strict=True):
        assert_right(each, ids, [URGENCY])


def test_a_plan_finds_what_another_one_on_the_same_path_has_computed() -> None:
    cache, runtime = NodeCache(PLENTY), FakeRuntime()
    answer(*execution_of([INTENT], runtime, cache), [1, 2], [INTENT])
    runtime.calls.clear()
    loaded, execution = execution_of([INTENT, URGENCY], runtime, cache)
    assert_right(answer(loaded, execution, [1, 2], [INTENT, URGENCY]), [1, 2], [INTENT, URGENCY])
    assert runtime.calls == [("urgency", 1)]


def test_a_promoted_head_that_needs_another_tensor_is_computed_from_the_raw_row_and_found_then() -> None:
    cache, runtime = NodeCache(PLENTY), FakeRuntime()
    answer(*execution_of([INTENT], runtime, cache), [1, 2], [INTENT])
    runtime.calls.clear()
    loaded, execution = execution_of([INTENT, URGENCY, WITH_IDS], runtime, cache)
    found = answer(loaded, execution, [1, 2], [WITH_IDS])
    assert found[WITH_IDS.digest]["ids_NT"].tolist() == [1, 2]
    assert [name for name, _ in runtime.calls] == ["body/0", "body/1", "with-ids"]
    runtime.calls.clear()
    assert_right(answer(loaded, execution, [1, 2], [URGENCY]), [1, 2], [URGENCY])
    assert [name for name, _ in runtime.calls] == ["urgency"]


def test_a_row_without_a_digest_is_computed_every_time() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(PLENTY))
    (route,) = loaded.plan.routes([INTENT])
    nameless = type(row(1))(tensors=row(1).tensors, length=1, digest="")
    for _ in range(2):
        answer_all(execution, [(nameless, route)])
    assert len(runtime.calls) == 6


def test_without_a_cache_everything_starts_with_the_raw_row() -> None:
    runtime = FakeRuntime()
    loaded, execution = execution_of(VERSIONS, runtime, NodeCache(0))
    (route,) = loaded.plan.routes([INTENT])
    for _ in range(2):
        _, (found,) = answer_all(execution, [(row(1), route)])
        assert (found.route, found.start.path, found.answers) == (route, "", {})
    assert len(runtime.calls) == 6


def test_a_shadow_never_runs_beside_answers_that_are_all_found() -> None:
    loaded, execution = execution_of(VERSIONS, FakeRuntime(), NodeCache(PLENTY))
    answer(loaded, execution, [1], [INTENT])
    (route,) = loaded.plan.routes([INTENT], [URGENCY])
    assert execution.lookup(route, row(1)).route is None
    found = execution.lookup(route, row(2)).route
    assert found is not None
    assert found.shadows == (URGENCY,)


def test_what_is_kept_belongs_to_no_batch() -> None:
    loaded, execution = execution_of(VERSIONS, FakeRuntime(), NodeCache(PLENTY))
    (route,) = loaded.plan.routes([INTENT])
    execution.run(execution.lookup(route, row(1)).start, [Asked(row(1), route), Asked(row(2, 3), route)])
    (other,) = loaded.plan.routes([URGENCY])
    features = execution.lookup(other, row(1)).features
    assert features["tokens_NT"].tolist() == [3]
    for array in features.values():
        assert array.flags.owndata
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


REQUESTS = st.lists(  # batches of rows, each with its token ids and the versions that are asked
    st.lists(
        st.tuples(
            st.lists(st.integers(0, 3), min_size=1, max_size=3),
            st.lists(st.integers(0, len(VERSIONS) - 1), min_size=1, max_size=3, unique=True),
        ),
        min_size=1,
        max_size=5,
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(max_bytes=st.sampled_from([0, 900, 2_000, 6_000, 20_000, PLENTY]), requests=REQUESTS, grouped=st.booleans())
def test_answers_are_the_same_with_a_cache_of_any_size_after_any_requests(
    max_bytes: int, requests: list[list[tuple[list[int], list[int]]]], grouped: bool
) -> None:
    cache = NodeCache(max_bytes)
    loaded, execution = execution_of(VERSIONS, FakeRuntime(grouped=grouped), cache)
    for batch in requests:
        asked = [([VERSIONS[index] for index in indices], ids) for ids, indices in batch]
        answers, _ = answer_all(execution, [(row(*ids), loaded.plan.routes(versions)[0]) for versions, ids in asked])
        for (versions, ids), each in zip(asked, answers, strict=True):
            assert_right(each, ids, versions)
        assert cache.nbytes <= max_bytes


@settings(max_examples=60, deadline=None)
@given(max_bytes=st.sampled_from([0, 6_000, PLENTY]), requests=REQUESTS)
def test_the_memory_of_a_batch_shows_nowhere_when_lanes_use_it_again(
    max_bytes: int, requests: list[list[tuple[list[int], list[int]]]]
) -> None:
    loaded, execution = execution_of(VERSIONS, FakeRuntime(), NodeCache(max_bytes))
    batches = [
        [(row(*ids), loaded.plan.routes([VERSIONS[index] for index in indices])[0]) for ids, indices in batch]
        for batch in requests
    ]
    with ThreadPoolExecutor(2) as lanes:
        answered = list(lanes.map(lambda batch: answer_all(execution, batch)[0], batches))
    again = [answer_all(execution, batch)[0] for batch in batches]
    for batch, answers, later in zip(requests, answered, again, strict=True):  # all of the buffers were used since
        for (ids, indices), *both in zip(batch, answers, later, strict=True):
            for each in both:
                assert_right(each, ids, [VERSIONS[index] for index in indices])
