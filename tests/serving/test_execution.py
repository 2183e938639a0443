import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
import pytest

from serving.cache import NodeCache
from serving.errors import NotFinite
from serving.execution import BatchResult, Execution, Start
from serving.plan import LoadedPlan, ServedVersion
from serving.runtimes.base import Executable
from tests.support.asked import Asked
from tests.support.fake_runtime import BAD, IDS, MASK, FakeRuntime, expected, loaded_plan, row, served
from zoo.manifest import Signature
from zoo.preprocessing import Row

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
TAG = served("tag", ["body/0", "tag"])
VERSIONS = (INTENT, URGENCY, TAG)


def run(runtime: FakeRuntime, asked: Sequence[tuple[list[int], Sequence[ServedVersion]]]) -> BatchResult:
    """Run one batch: for each row its token ids, and the versions that are asked."""
    loaded = loaded_plan(VERSIONS, runtime)
    ticks = count()
    execution = Execution(loaded, runtime, lambda: float(next(ticks)), NodeCache(0))
    works = [Asked(row(*ids), loaded.plan.routes(versions)[0]) for ids, versions in asked]
    return execution.run(Start(root=loaded.plan.roots[0]), works)


def assert_answers(result: BatchResult, asked: Sequence[tuple[list[int], Sequence[ServedVersion]]]) -> None:
    """Check that every row got exactly what was asked for it, and the right values."""
    assert result.failures == {}
    for answers, (ids, versions) in zip(result.answers, asked, strict=True):
        assert answers.keys() == {version.digest for version in versions}
        for version in versions:
            (value,) = answers[version.digest].values()
            np.testing.assert_array_equal(value, expected(version, ids))


def test_the_shared_prefix_runs_once_for_several_heads_of_one_row() -> None:
    runtime = FakeRuntime()
    asked = [([1, 2, 3], VERSIONS)]
    assert_answers(run(runtime, asked), asked)
    assert sorted(runtime.calls) == [("body/0", 1), ("body/1", 1), ("intent", 1), ("tag", 1), ("urgency", 1)]


def test_the_shared_prefix_runs_once_for_rows_that_ask_different_heads() -> None:
    runtime = FakeRuntime()
    asked = [([1, 2, 3], [INTENT]), ([4], [TAG]), ([5, 6], [URGENCY]), ([7, 8], [INTENT, TAG])]
    assert_answers(run(runtime, asked), asked)
    assert sorted(runtime.calls) == [("body/0", 4), ("body/1", 3), ("intent", 2), ("tag", 2), ("urgency", 1)]


def test_a_few_rows_in_vain_are_cheaper_than_picking_the_others() -> None:
    runtime = FakeRuntime()
    asked = [([number], [INTENT] if number else [TAG]) for number in range(5)]
    assert_answers(run(runtime, asked), asked)
    assert ("body/1", 5) in runtime.calls
    assert runtime.taken == [(0,)]


def test_rows_are_picked_only_where_a_node_does_not_want_all_of_them() -> None:
    runtime = FakeRuntime()
    run(runtime, [([1], [INTENT]), ([2], [INTENT, URGENCY])])
    assert runtime.taken == [(1,)]


def test_only_what_a_version_answers_with_comes_to_the_host_once_a_head() -> None:
    runtime = FakeRuntime()
    run(runtime, [([1], VERSIONS), ([2], VERSIONS)])
    assert sorted(runtime.brought_back) == [("tags_NT",), ("total_N1",), ("total_N1",)]


def test_a_row_gets_its_token_axes_without_the_padding_of_the_batch() -> None:
    result = run(FakeRuntime(), [([1], [TAG]), ([2, 3, 4], [TAG])])
    assert [answers[TAG.digest]["tags_NT"].shape for answers in result.answers] == [(1,), (3,)]


def test_a_broken_head_fails_the_rows_that_ask_it_and_no_other() -> None:
    runtime = FakeRuntime(broken={"urgency"})
    result = run(runtime, [([1], [INTENT]), ([2], [URGENCY]), ([3], [INTENT, URGENCY]), ([4], [TAG])])
    assert set(result.failures) == {1, 2}
    np.testing.assert_array_equal(result.answers[0][INTENT.digest]["total_N1"], expected(INTENT, [1]))
    np.testing.assert_array_equal(result.answers[3][TAG.digest]["tags_NT"], expected(TAG, [4]))


def test_a_broken_body_fails_everything_below_it_and_runs_no_more_of_it() -> None:
    runtime = FakeRuntime(broken={"body/1"})
    result = run(runtime, [([1], [INTENT]), ([2], [TAG])])
    assert set(result.failures) == {0}
    assert "intent" not in dict(runtime.calls)
    assert TAG.digest in result.answers[1]


def test_a_failure_names_the_stage_and_an_id_that_finds_its_cause_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        failure = run(FakeRuntime(broken={"intent"}), [([1], [INTENT])]).failures[0]
    (record,) = caplog.records
    incident = record.getMessage().split(":")[0]
    assert f"'intent' failed on this row. The server's log has the cause under {incident};" in str(failure)
    assert "broken" not in str(failure)
    assert record.exc_info is not None
    assert "the fake stage is broken" in str(record.exc_info[1])


def test_an_output_that_a_stage_does_not_give_fails_its_version_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    runtime = FakeRuntime()
    loaded = loaded_plan(VERSIONS, runtime)
    tag_stage = TAG.manifest.stages[-1].digest
    silent = {**loaded.executables, tag_stage: lambda tensors: {}}
    broken = type(loaded)(plan=loaded.plan, executables=silent, preprocessors=loaded.preprocessors)
    (route,) = loaded.plan.routes(VERSIONS)
    result = Execution(broken, runtime, lambda: 0.0, NodeCache(0)).run(
        Start(root=loaded.plan.roots[0]), [Asked(row(1), route)]
    )
    assert "output of stage 'tag'" in str(result.failures[0])
    assert {INTENT.digest, URGENCY.digest} <= result.answers[0].keys()
    assert "tags_NT" in caplog.text


def test_rows_that_cannot_be_stacked_fail_together_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    runtime = FakeRuntime()
    loaded = loaded_plan(VERSIONS, runtime)
    (route,) = loaded.plan.routes([INTENT])
    empty = Row(tensors={}, length=1, digest="")
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(
        Start(root=loaded.plan.roots[0]), [Asked(empty, route)]
    )
    assert "The input of stage 'body/0'" in str(result.failures[0])
    assert runtime.calls == []


def test_what_ran_is_counted_by_path_and_by_version() -> None:
    result = run(FakeRuntime(), [([1], [INTENT]), ([2], [URGENCY]), ([3], [INTENT, TAG])])
    assert sorted(each.rows for each in result.runs) == [1, 1, 2, 3, 3]
    works = {str(each.version): each.works for each in result.version_runs}
    assert works == {"intent@1": (0, 2), "urgency@1": (1,), "tag@1": (2,)}


def test_a_versions_time_is_that_of_its_own_path() -> None:
    result = run(FakeRuntime(), [([1], [INTENT, TAG])])
    infer_s = {str(each.version): each.infer_s for each in result.version_runs}
    assert infer_s == {"intent@1": 3.0, "tag@1": 2.0}


def test_a_row_that_breaks_a_stage_fails_alone_and_its_neighbours_get_their_answers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    runtime = FakeRuntime(fragile={"body/1"})
    asked = [([1, 2], [INTENT]), ([BAD], [INTENT, TAG]), ([3], [URGENCY]), ([4, 5, 6], [TAG]), ([7], [INTENT, URGENCY])]
    result = run(runtime, asked)
    assert set(result.failures) == {1}
    assert set(result.version_failures) == {(1, INTENT.digest)}
    assert "'body/1' failed on this row" in str(result.failures[1])
    for position, (ids, versions) in enumerate(asked):
        for version in versions:
            if (position, version) != (1, INTENT):
                (value,) = result.answers[position][version.digest].values()
                np.testing.assert_array_equal(value, expected(version, ids))
    (record,) = caplog.records
    assert record.getMessage().split(":")[0] in str(result.failures[1])


def test_a_stage_that_is_broken_for_everybody_is_not_tried_for_every_row() -> None:
    runtime = FakeRuntime(broken={"body/1"})
    result = run(runtime, [([number], [INTENT]) for number in range(32)])
    assert len(result.failures) == 32
    assert [name for name, _ in runtime.calls].count("body/1") <= 11


def with_executable(loaded: LoadedPlan, version: ServedVersion, executable: Executable) -> LoadedPlan:
    """Return the plan with something else in the place of a version's last stage."""
    executables = {**loaded.executables, version.manifest.stages[-1].digest: executable}
    return replace(loaded, executables=executables)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_row_that_a_head_answers_with_no_number_fails_alone_and_for_that_head_alone(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    runtime = FakeRuntime()
    loaded = with_executable(
        loaded_plan(VERSIONS, runtime),
        URGENCY,
        lambda tensors: {"total_N1": np.where(tensors["tokens_NT"][:, :1] >= BAD, np.float32(value), 1)},
    )
    (route,) = loaded.plan.routes([INTENT, URGENCY])
    cache = NodeCache(1 << 20)
    works = [Asked(row(1), route), Asked(row(BAD, 2), route), Asked(row(3, 4), route)]
    result = Execution(loaded, runtime, lambda: 0.0, cache).run(Start(root=route.root), works)
    assert {key: type(error) for key, error in result.version_failures.items()} == {(1, URGENCY.digest): NotFinite}
    assert "urgency@1 computed a NaN or an infinity" in str(result.failures[1])
    assert [set(answers) for answers in result.answers] == [
        {INTENT.digest, URGENCY.digest},
        {INTENT.digest},
        {INTENT.digest, URGENCY.digest},
    ]
    assert {(run.works, run.failed) for run in result.version_runs if run.version is URGENCY} == {
        ((0, 2), False),
        ((1,), True),
    }
    (record,) = caplog.records
    assert record.getMessage().split(":")[0] in str(result.failures[1])
    assert Execution(loaded, runtime, lambda: 0.0, cache).lookup(route, works[1].row).answers.keys() == {INTENT.digest}


def test_padding_may_hold_what_it_likes() -> None:
    runtime = FakeRuntime()
    padded_with_nan = lambda tensors: {"tags_NT": np.where(tensors["mask_NT"] == 1, np.float32(2), np.float32(np.nan))}  # noqa: E731 - an executable
    loaded = with_executable(loaded_plan(VERSIONS, runtime), TAG, padded_with_nan)
    (route,) = loaded.plan.routes([TAG])
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(
        Start(root=route.root), [Asked(row(1), route), Asked(row(1, 2), route)]
    )
    assert [answers[TAG.digest]["tags_NT"].tolist() for answers in result.answers] == [[2.0], [2.0, 2.0]]


def test_what_fails_of_a_shadow_is_logged_and_fails_nobody(caplog: pytest.LogCaptureFixture) -> None:
    runtime = FakeRuntime(broken={"urgency"})
    loaded = loaded_plan(VERSIONS, runtime)
    (beside,) = loaded.plan.routes([INTENT], [URGENCY, TAG])
    (itself,) = loaded.plan.routes([URGENCY])
    works = [Asked(row(1), beside), Asked(row(2), itself)]
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(Start(root=beside.root), works)
    assert set(result.failures) == {1}
    assert result.answers[0].keys() == {INTENT.digest, TAG.digest}
    assert len(caplog.records) == 1


def leaving_after(questions: int) -> Callable[[], bool]:
    """Return a ``wanted`` that is true for so many times."""
    asked = count()
    return lambda: next(asked) < questions


def test_a_row_that_nobody_wants_any_more_leaves_before_the_next_stage() -> None:
    runtime = FakeRuntime()
    loaded = loaded_plan(VERSIONS, runtime)
    (route,) = loaded.plan.routes([INTENT])
    works = [Asked(row(1), route), Asked(row(2), route, still_wanted=leaving_after(2)), Asked(row(3), route)]
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(Start(root=route.root), works)
    assert runtime.calls == [("body/0", 3), ("body/1", 2), ("intent", 2)]
    assert (result.dropped, result.failures, result.answers[1]) == ({1}, {}, {})
    np.testing.assert_array_equal(result.answers[2][INTENT.digest]["total_N1"], expected(INTENT, [3]))


def test_a_row_that_leaves_a_large_batch_is_carried_along_and_not_answered() -> None:
    runtime = FakeRuntime()
    loaded = loaded_plan(VERSIONS, runtime)
    (route,) = loaded.plan.routes([INTENT])
    works = [Asked(row(number), route, still_wanted=leaving_after(99 if number else 2)) for number in range(6)]
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(Start(root=route.root), works)
    assert runtime.calls == [("body/0", 6), ("body/1", 6), ("intent", 6)]
    assert runtime.taken == []
    assert (result.dropped, result.answers[0]) == ({0}, {})
    assert {run.works for run in result.version_runs} == {(1, 2, 3, 4, 5)}


@pytest.mark.parametrize("questions", range(4))
def test_when_everybody_has_left_nothing_more_runs(questions: int) -> None:
    runtime = FakeRuntime()
    loaded = loaded_plan(VERSIONS, runtime)
    (route,) = loaded.plan.routes([INTENT, URGENCY])
    works = [Asked(row(number), route, still_wanted=leaving_after(questions)) for number in (1, 2)]
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(1 << 20)).run(Start(root=route.root), works)
    assert len(runtime.calls) == max(0, questions - 1)
    assert result.dropped == {0, 1}


def test_an_answer_shares_memory_with_nothing_and_cannot_be_written_to() -> None:
    passing_on = served("echo", ["body/0"], signature=Signature(inputs=(IDS, MASK), outputs=(MASK,)))
    runtime = FakeRuntime()
    loaded = loaded_plan([passing_on], runtime)
    (route,) = loaded.plan.routes([passing_on])
    execution = Execution(loaded, runtime, lambda: 0.0, NodeCache(0))
    first = row(5, 6)
    alone = execution.run(Start(root=route.root), [Asked(first, route)])
    batched = execution.run(Start(root=route.root), [Asked(first, route), Asked(row(1, 2, 3), route)])
    execution.run(Start(root=route.root), [Asked(row(0, 0, 0, 0), route), Asked(row(0), route)])
    for result in (alone, batched):
        answer = result.answers[0][passing_on.digest]["mask_NT"]
        assert answer.tolist() == [1, 1]
        assert answer.flags.owndata
        assert not answer.flags.writeable
        assert not np.shares_memory(answer, first.tensors["mask_NT"])
