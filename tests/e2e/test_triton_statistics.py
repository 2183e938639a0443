"""The statistics as Triton's perf_analyzer reads them: differences of two readings, each average by its own count."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support import triton_calls as calls
from tests.support.serve_command import Serving, serving
from tests.support.tiny_zoo import make_tiny_zoo
from tests.support.triton_calls import OtherProcess, texts_of

pytest.importorskip("tritonclient", reason="tritonclient[grpc] is not installed")

COMPUTE = ("compute_input", "compute_infer", "compute_output")


@pytest.fixture(scope="module", params=["0", "2"], ids=["one process", "two front ends"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    tiny = make_tiny_zoo(tmp_path_factory.mktemp("zoo"), heads=("intent", "pii"))
    with serving(tiny.folder, "--front-ends", request.param) as server:
        yield server


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[OtherProcess]:
    process = OtherProcess()
    yield process
    process.close()


@dataclass(frozen=True)
class Reading:
    """What a model has done, as one response says; protobuf's JSON leaves zeros out, and writes numbers as text."""

    response: dict[str, Any]

    def number(self, name: str) -> int:
        return int(self.response.get(name, 0))

    def stat(self, name: str) -> tuple[int, int]:
        """Return count and nanoseconds."""
        found = self.response.get("inference_stats", {}).get(name, {})
        return int(found.get("count", 0)), int(found.get("ns", 0))

    def batches(self) -> dict[int, int]:
        """Return how many batches of each size there were."""
        found = self.response.get("batch_stats", [])
        return {int(batch["batch_size"]): int(batch["compute_infer"]["count"]) for batch in found}


@dataclass(frozen=True)
class Measured:
    """The difference of two readings."""

    before: Reading
    after: Reading

    def number(self, name: str) -> int:
        return self.after.number(name) - self.before.number(name)

    def count(self, name: str) -> int:
        return self.after.stat(name)[0] - self.before.stat(name)[0]

    def ns(self, name: str) -> int:
        return self.after.stat(name)[1] - self.before.stat(name)[1]

    def average_us(self, name: str) -> int:
        return self.ns(name) // (self.count(name) * 1000) if self.count(name) else 0


class Analyzer:
    """Measures as perf_analyzer does."""

    def __init__(self, elsewhere: OtherProcess, server: Serving, model: str) -> None:
        self._elsewhere = elsewhere
        self._server = server
        self._model = model

    def read(self) -> Reading:
        (found,) = self._elsewhere(calls.statistics, self._server.address, self._model)
        return Reading(found)

    def measure(self, *requests: tuple[str, ...]) -> Measured:
        before = self.read()
        for texts in requests:
            self._elsewhere(calls.infer, self._server.address, self._model, texts_of(*texts))
        return Measured(before, self.read())


def test_requests_rows_and_batches_are_told_apart(elsewhere: OtherProcess, server: Serving) -> None:
    measured = Analyzer(elsewhere, server, "intent").measure(("a 1", "a 2", "a 3"), ("a 4",))
    assert measured.count("success") == 2
    assert measured.number("inference_count") == 4
    sizes = measured.after.batches()
    before = measured.before.batches()
    grown = {size: sizes[size] - before.get(size, 0) for size in sizes}
    assert sum(size * batches for size, batches in grown.items()) == 4
    assert sum(grown.values()) == measured.number("execution_count")
    assert measured.number("last_inference") > 0


def test_the_parts_of_a_request_are_no_longer_than_all_of_it(elsewhere: OtherProcess, server: Serving) -> None:
    measured = Analyzer(elsewhere, server, "intent").measure(*((f"b {number}",) for number in range(20)))
    counts = {measured.count(part) for part in COMPUTE}
    assert counts == {20}, "perf_analyzer refuses compute counts that differ"
    parts_us = measured.average_us("queue") + sum(measured.average_us(part) for part in COMPUTE)
    assert 0 < parts_us <= measured.average_us("success")
    assert measured.average_us("compute_infer") > 0


def test_answers_of_the_cache_are_hits_that_were_queued_and_computed_nothing(
    elsewhere: OtherProcess, server: Serving
) -> None:
    analyzer = Analyzer(elsewhere, server, "intent")
    first = analyzer.measure(("c 1", "c 2"))
    assert (first.count("cache_miss"), first.count("cache_hit")) == (2, 0)
    again = analyzer.measure(("c 1", "c 2"))
    assert (again.count("cache_miss"), again.count("cache_hit")) == (0, 2)
    assert (again.count("success"), again.number("inference_count"), again.number("execution_count")) == (1, 0, 0)
    assert (again.count("queue"), again.ns("queue")) == (2, 0), "perf_analyzer finds the version by its queue count"
    assert {again.count(part) for part in COMPUTE} == {0}


def test_refused_requests_fail_for_the_model_that_they_asked(elsewhere: OtherProcess, server: Serving) -> None:
    analyzer = Analyzer(elsewhere, server, "pii")
    measured = analyzer.measure(("please " * 1000,))
    while not measured.count("fail"):  # front ends tell each other what they refused after a moment
        measured = Measured(measured.before, analyzer.read())
    assert (measured.count("fail"), measured.count("success"), measured.number("inference_count")) == (1, 0, 0)
