from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cache import NodeCache
from serving.execution import BatchResult, Execution, Start
from serving.groups import CALL_PAIRS, split
from serving.plan import ServedVersion
from tests.support.asked import Asked
from tests.support.fake_runtime import BAD, FakeRuntime, expected, loaded_plan, row, served

ONE = served("one", ["body/0", "one"])
TWO = served("two", ["body/0", "two"])
THREE = served("three", ["body/0", "three"])
TAG = served("tag", ["body/0", "tag"])
VERSIONS = (ONE, TWO, THREE, TAG)


def run(runtime: FakeRuntime, asked: Sequence[tuple[list[int], Sequence[ServedVersion]]]) -> BatchResult:
    loaded = loaded_plan(VERSIONS, runtime)
    works = [Asked(row(*ids), loaded.plan.routes(versions)[0]) for ids, versions in asked]
    return Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(Start(root=loaded.plan.roots[0]), works)


def assert_answers(result: BatchResult, asked: Sequence[tuple[list[int], Sequence[ServedVersion]]]) -> None:
    for position, (answers, (ids, versions)) in enumerate(zip(result.answers, asked, strict=True)):
        right = [version for version in versions if (position, version.digest) not in result.version_failures]
        assert answers.keys() == {version.digest for version in right}
        for version in right:
            (value,) = answers[version.digest].values()
            np.testing.assert_array_equal(value, expected(version, ids))


@given(st.lists(st.sets(st.integers(0, 90), min_size=1), max_size=12))
def test_every_wanted_pair_is_computed_once_and_the_calls_cost_no_more_than_one_a_head(wanted: list[set[int]]) -> None:
    calls = split([sorted(rows) for rows in wanted])
    assert sorted(head for call in calls for head in call.heads) == list(range(len(wanted)))
    for call in calls:
        assert list(call.rows) == sorted(set().union(*(wanted[head] for head in call.heads)))
    cost = sum(CALL_PAIRS + len(call.heads) * len(call.rows) for call in calls)
    assert cost <= sum(CALL_PAIRS + len(rows) for rows in wanted)


def test_heads_of_one_group_run_as_one_call_and_others_by_themselves() -> None:
    runtime = FakeRuntime(grouped=True)
    asked = [([1, 2], VERSIONS), ([3], VERSIONS)]
    result = run(runtime, asked)
    assert_answers(result, asked)
    assert sorted(runtime.calls) == [("body/0", 2), ("one+two+three", 2), ("tag", 2)]


def test_rows_that_ask_a_head_each_share_one_call() -> None:
    runtime = FakeRuntime(grouped=True)
    asked = [([1, 2], [ONE]), ([3], [TWO]), ([4, 5, 6], [THREE]), ([7], [ONE, TWO])]
    result = run(runtime, asked)
    assert_answers(result, asked)
    assert runtime.calls == [("body/0", 4), ("one+two+three", 4)]


def test_each_head_has_its_rows_and_its_share_of_the_time() -> None:
    runtime = FakeRuntime(grouped=True)
    loaded = loaded_plan(VERSIONS, runtime)
    clock = iter(range(100))
    works = [Asked(row(1), loaded.plan.routes(versions)[0]) for versions in ([ONE], [ONE], [ONE, TWO])]
    execution = Execution(loaded, runtime, lambda: float(next(clock)), NodeCache(0))
    result = execution.run(Start(root=loaded.plan.roots[0]), works)
    shares = {run.stage: (run.rows, run.seconds, run.ended_s - run.began_s) for run in result.runs}
    assert shares == {"body/0": (3, 1.0, 1.0), "one": (3, 0.75, 1.0), "two": (1, 0.25, 1.0)}


def test_a_broken_head_of_a_group_fails_its_rows_and_no_other_head(caplog: pytest.LogCaptureFixture) -> None:
    runtime = FakeRuntime(grouped=True, broken={"two"})
    asked = [([1, 2], [ONE, TWO]), ([3], [THREE]), ([4], [TWO])]
    result = run(runtime, asked)
    assert set(result.version_failures) == {(0, TWO.digest), (2, TWO.digest)}
    assert_answers(result, asked)
    assert len(caplog.records) == 1


def test_a_row_that_breaks_a_group_fails_alone() -> None:
    runtime = FakeRuntime(grouped=True, fragile={"one"})
    asked = [([1, 2], [ONE, TWO]), ([BAD], [ONE, THREE]), ([4], [ONE])]
    result = run(runtime, asked)
    assert set(result.version_failures) == {(1, ONE.digest)}
    assert_answers(result, asked)


def test_a_head_that_nobody_waits_for_any_more_is_not_computed() -> None:
    runtime = FakeRuntime(grouped=True)
    loaded = loaded_plan(VERSIONS, runtime)
    answers = iter([True, True])
    works = [
        Asked(row(1), loaded.plan.routes([ONE])[0]),
        Asked(row(2), loaded.plan.routes([TWO])[0], still_wanted=lambda: next(answers, False)),
    ]
    result = Execution(loaded, runtime, lambda: 0.0, NodeCache(0)).run(Start(root=loaded.plan.roots[0]), works)
    assert runtime.calls == [("body/0", 2), ("one", 1)]
    assert result.dropped == {1}
