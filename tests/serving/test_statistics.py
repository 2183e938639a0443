from concurrent.futures import ThreadPoolExecutor

from serving.execution import BatchResult, NodeRun, VersionRun
from serving.plan import ServedVersion
from serving.statistics import Duration, Statistics, VersionStatistics
from tests.support.fake_runtime import served

INTENT = served("intent", ["body/0", "intent"])
URGENCY = served("urgency", ["body/0", "urgency"])


def node_run(path: str, rows: int) -> NodeRun:
    return NodeRun(path=path, stage=path, rows=rows, width=1, began_s=0.0, ended_s=0.1)


def version_run(version: ServedVersion, works: tuple[int, ...], *, failed: bool = False) -> VersionRun:
    return VersionRun(version=version, works=works, failed=failed, input_s=0.25, infer_s=0.5, output_s=0.125)


def batch(*runs: VersionRun) -> BatchResult:
    return BatchResult(answers=[], runs=[node_run("shared", 3), node_run("head", 2)], version_runs=list(runs))


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
