import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from serving.cache import NodeCache
from serving.execution import BatchResult, Execution, Start
from serving.plan import Route, ServedVersion
from tests.support.fake_runtime import FakeRuntime, expected, loaded_plan, row, served
from zoo.preprocessing import Row

INTENT = served("intent", ["body/0", "body/1", "intent"])
URGENCY = served("urgency", ["body/0", "body/1", "urgency"])
TAG = served("tag", ["body/0", "tag"])
VERSIONS = (INTENT, URGENCY, TAG)


@dataclass(frozen=True)
class Asked:
    row: Row
    route: Route
    features: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    still_wanted: Callable[[], bool] = lambda: True

    def wanted(self) -> bool:
        return self.still_wanted()


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
