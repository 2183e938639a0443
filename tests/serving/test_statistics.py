from asyncio import CancelledError
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.counts import Histogram
from serving.errors import Overloaded
from serving.execution import BatchResult, NodeRun, VersionRun
from serving.plan import ServedVersion
from serving.statistics import Duration, Statistics, VersionStatistics, outcome
from tests.support.fake_runtime import served

INTENT = served("intent", ["body/0", "intent"])
URGENCY = served("urgency", ["body/0", "urgency"])


def node_run(path: str, rows: int) -> NodeRun:
    return NodeRun(path=path, stage=path, rows=rows, width=1, began_s=0.0, ended_s=0.1, seconds=0.1)


def version_run(version: ServedVersion, works: tuple[int, ...], *, failed: bool = False) -> VersionRun:
    return VersionRun(version=version, works=works, failed=failed, input_s=0.25, infer_s=0.5, output_s=0.125)


def batch(*runs: VersionRun, **changes: Any) -> BatchResult:
    return BatchResult(
        **changes, answers=[], runs=[node_run("shared", 3), node_run("head", 2)], version_runs=list(runs)
    )


def test_a_version_that_was_never_asked_has_zeros() -> None:
    assert Statistics(lambda: 1.0).version("f" * 64) == VersionStatistics()


def test_a_batch_counts_rows_queue_time_and_compute_time_of_each_version() -> None:
    statistics = Statistics(lambda: 12.5)
    statistics.record_batch(batch(version_run(INTENT, (0, 2)), version_run(URGENCY, (1,))), [1.0, 2.0, 4.0])
    intent = statistics.version(INTENT.digest)
    assert (intent.rows, intent.batches, intent.last_inference_ms) == (2, 1, 12_500)
    assert intent.queue == Duration(count=2, total_ns=5_000_000_000)
    assert intent.compute_infer == Duration(count=2, total_ns=1_000_000_000)
    assert statistics.version(URGENCY.digest).queue == Duration(count=1, total_ns=2_000_000_000)


def test_batches_are_counted_by_how_many_rows_of_the_version_they_held() -> None:
    statistics = Statistics(lambda: 1.0)
    for works in ((0, 1), (0,), (1, 2)):
        statistics.record_batch(batch(version_run(INTENT, works)), [0.0, 0.0, 0.0])
    sizes = statistics.version(INTENT.digest).by_batch_rows
    assert {rows: each.compute_infer for rows, each in sizes.items()} == {
        2: Duration(count=2, total_ns=1_000_000_000),
        1: Duration(count=1, total_ns=500_000_000),
    }


def test_a_failed_run_is_no_inference() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_batch(batch(version_run(INTENT, (0,), failed=True)), [1.0])
    assert statistics.version(INTENT.digest) == VersionStatistics()


def test_requests_are_counted_for_every_version_that_was_asked() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_request([INTENT, URGENCY], 0.5)
    statistics.record_request([INTENT], 0.25, "serving.overloaded")
    intent = statistics.version(INTENT.digest)
    assert intent.success == Duration(count=1, total_ns=500_000_000)
    assert intent.fail == Duration(count=1, total_ns=250_000_000)
    assert statistics.version(URGENCY.digest).fail == Duration()


def test_the_runs_of_a_node_add_up() -> None:
    statistics = Statistics(lambda: 1.0)
    for _ in range(3):
        statistics.record_batch(batch(), [])
    runs = statistics.stage_runs("shared")
    assert (runs.runs, runs.rows) == (3, 9)


def test_a_copy_that_was_taken_does_not_change_any_more() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_batch(batch(version_run(INTENT, (0,))), [0.0])
    before = statistics.version(INTENT.digest)
    statistics.record_batch(batch(version_run(INTENT, (0,))), [0.0])
    assert (before.rows, before.by_batch_rows[1].compute_infer.count) == (1, 1)


def test_nothing_is_lost_when_many_threads_record() -> None:
    statistics = Statistics(lambda: 1.0)

    def record(_: int) -> None:
        statistics.record_batch(batch(version_run(INTENT, (0,))), [0.0])
        statistics.record_request([INTENT], 0.0)
        statistics.record_dropped("overloaded", "support", 2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(record, range(400)))
    intent = statistics.version(INTENT.digest)
    assert (intent.rows, intent.success.count) == (400, 400)
    assert statistics.dropped() == {"overloaded": 800}


def test_a_row_that_several_callers_share_counts_for_each_of_them_and_ran_once() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_batch(batch(version_run(INTENT, (0, 1))), [0.5, 0.25], teams=["support", "sales"], shares=[1, 3])
    intent = statistics.version(INTENT.digest)
    assert (intent.rows, intent.batches) == (4, 1)
    assert intent.queue == Duration(count=4, total_ns=1_250_000_000)
    assert intent.compute_infer.count == intent.compute_input.count == intent.compute_output.count == 4
    assert list(intent.by_batch_rows) == [2]
    assert statistics.counts().merged == {"sales": 2}


def test_a_batch_says_why_it_left_where_it_ran_and_how_well_it_was_predicted() -> None:
    statistics = Statistics(lambda: 1.0)
    result = batch(version_run(INTENT, (0,)), real_tokens=30, padded_tokens=40)
    for lane in (0, 1, 1):
        statistics.record_batch(
            result, [0.0], predicted_s=0.5, began_s=1.0, ended_s=2.0, lane=lane, reason="turn", stop="full"
        )
    batches = statistics.counts().batches
    assert batches.by_reason == {("turn", "full"): 3}
    assert batches.lane_s == {0: 1.0, 1: 2.0}
    assert (batches.real_tokens, batches.padded_tokens) == (90, 120)
    assert (batches.padding.count, batches.padding.total) == (3, 0.75)
    assert (batches.predicted_s, batches.ran_s, batches.predicted_ratio.total) == (1.5, 3.0, 1.5)


def test_a_batch_whose_time_nobody_predicted_says_nothing_about_predictions() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_batch(batch(), [0.0], began_s=1.0, ended_s=2.0)
    assert statistics.counts().batches.predicted_ratio.count == 0


def test_rows_that_nobody_wanted_any_more_between_two_stages_are_dropped_rows_of_their_team() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_batch(batch(dropped={1}), [0.0, 0.0], teams=["support", "sales"])
    assert statistics.counts().dropped == {("midway", "sales"): 1}


def test_what_the_cache_answered_is_queued_for_no_time_and_computes_nothing() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_answers([INTENT, INTENT], [URGENCY], 0.001)
    intent, urgency = statistics.version(INTENT.digest), statistics.version(URGENCY.digest)
    assert intent.cache_hit == Duration(count=2, total_ns=2_000_000)
    assert intent.queue == Duration(count=2, total_ns=0)
    assert (intent.rows, intent.compute_infer.count) == (0, 0)
    assert (urgency.cache_miss.count, urgency.queue.count) == (1, 0)


def test_a_plan_that_is_swapped_out_leaves_the_totals_of_its_heads() -> None:
    statistics = Statistics(lambda: 1.0)
    newer = served("intent", ["body/0", "intent"], number=2)
    for version in (INTENT, newer):
        statistics.record_batch(batch(version_run(version, (0,))), [0.0])
        statistics.record_request([version], 0.5)
        statistics.record_shadow(version, "agreed")
    statistics.keep({newer.digest}, {"head"})
    counts = statistics.counts()
    assert set(counts.versions) == {newer.digest}
    assert set(counts.stages) == {"head"}
    assert list(counts.shadows) == [("intent", newer.digest, "agreed")]
    assert (counts.heads["intent"].rows, counts.heads["intent"].by_code) == (2, {"ok": 2})


def test_a_request_that_never_reached_the_engine_fails_for_the_versions_that_it_asked() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_call("Predict", 0.5, "serving.invalid_request", [INTENT])
    statistics.record_call("Predict", 0.25, "ok")
    intent = statistics.version(INTENT.digest)
    assert (intent.fail.count, intent.success.count) == (1, 0)
    assert intent.by_code == {"serving.invalid_request": 1}
    rpc = statistics.counts().rpcs["Predict"]
    assert rpc.by_code == {"serving.invalid_request": 1, "ok": 1}
    assert (rpc.seconds.count, rpc.seconds.total) == (2, 0.75)


def test_a_swap_that_changed_nothing_and_failed_is_no_swap() -> None:
    statistics = Statistics(lambda: 1.0)
    statistics.record_swap(7, 0.5, ok=True)
    statistics.record_swap(7, 9.0, ok=False)
    swaps = statistics.swaps()
    assert (swaps.epoch, swaps.complete, swaps.failed) == (7, False, 1)
    assert (swaps.swapped.count, swaps.seconds.total) == (1, 0.5)


@pytest.mark.parametrize(
    ("error", "code"),
    [(Overloaded("full"), "serving.overloaded"), (CancelledError(), "cancelled"), (KeyError("a bug"), "internal")],
)
def test_every_end_of_a_request_has_a_code(error: BaseException, code: str) -> None:
    assert outcome(error) == code


@given(st.lists(st.floats(min_value=0, max_value=20)))
def test_a_histogram_counts_every_value_below_the_bounds_that_it_does_not_exceed(values: list[float]) -> None:
    histogram = Histogram((0.5, 1.0, 10.0))
    for value in values:
        histogram.add(value)
    below = list(accumulate(histogram.counts))
    assert below == [*(sum(value <= bound for value in values) for bound in histogram.bounds), len(values)]
    assert histogram.total == pytest.approx(sum(values))
