import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.errors import InvalidRequest
from serving.handlers.access import AccessLog, Ended, Entry, LogStyle
from serving.handlers.asked import Asked
from serving.handlers.call import NOBODY, CallContext
from serving.request import Trace
from serving.statistics import Statistics
from tests.support.fake_runtime import served

INTENT = served("intent", ["body/0", "intent"])
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = CallContext(peer="10.0.0.7", traceparent=f"00-{TRACE_ID}-b7ad6b7169203331-01")


@pytest.fixture(autouse=True)
def logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    with caplog.at_level(logging.INFO, "serving.access"):
        yield


def entry(**changes: Any) -> Entry:
    known: dict[str, Any] = {"rpc": "Predict", "request_id": "a", "call": CALLER, "heads": "intent", "rows": 1}
    return Entry(**{**known, **changes})


def log_one(style: LogStyle, ended_s: float = 1.0) -> None:
    log = AccessLog(iter([0.5, ended_s]).__next__, style=style, unix_time=lambda: 1_700_000_000.25)
    with log.request("Predict", "a", CALLER) as one:
        one.heads, one.rows = "intent", 3
        one.asked = [Asked(served=INTENT, alias="prod", epoch=7)]
        one.trace = Trace(arrived_s=0.5, queued_s=0.625, began_s=0.75, ended_s=0.875, batch_rows=8, cached=2)


def test_a_line_says_who_asked_what_and_where_the_time_went(caplog: pytest.LogCaptureFixture) -> None:
    log_one("text")
    (record,) = caplog.records
    assert record.getMessage() == (
        f'rpc=Predict id="a" peer="10.0.0.7" heads="intent" versions="intent@1:{INTENT.digest[:12]}(prod/7)" rows=3 '
        f'status=ok ms=500.00 queue_ms=125.00 run_ms=125.00 batch_rows=8 cached=2 trace="{TRACE_ID}"'
    )


def test_a_json_line_has_the_whole_digests(caplog: pytest.LogCaptureFixture) -> None:
    log_one("json")
    (record,) = caplog.records
    assert json.loads(record.getMessage()) == {
        "time": "2023-11-14T22:13:20.250+00:00",
        "rpc": "Predict",
        "id": "a",
        "peer": "10.0.0.7",
        "heads": "intent",
        "rows": 3,
        "status": "ok",
        "ms": 500.0,
        "queue_ms": 125.0,
        "run_ms": 125.0,
        "batch_rows": 8,
        "cached": 2,
        "trace": TRACE_ID,
        "versions": [{"head": "intent", "number": 1, "digest": INTENT.digest, "alias": "prod", "epoch": 7}],
    }


def test_a_log_that_is_off_still_counts(caplog: pytest.LogCaptureFixture) -> None:
    statistics = Statistics(lambda: 1.0)
    log = AccessLog(iter([0.0, 0.5]).__next__, counts=statistics, style="off")
    with log.request("Resolve", "", NOBODY):
        pass
    assert not caplog.records
    assert statistics.counts().rpcs["Resolve"].by_code == {"ok": 1}


def test_a_line_says_how_a_request_ended(caplog: pytest.LogCaptureFixture) -> None:
    log = AccessLog(lambda: 1.0)
    with log.request("Predict", "a", NOBODY):
        pass
    with pytest.raises(asyncio.CancelledError), log.request("Predict", "b", NOBODY):
        raise asyncio.CancelledError
    with pytest.raises(ValueError, match="bug"), log.request("Predict", "c", NOBODY):
        raise ValueError("bug")
    ends = [record.getMessage().split("status=")[1].split()[0] for record in caplog.records]
    assert ends == ["ok", "cancelled", "internal"]


@pytest.mark.parametrize("submitted", [False, True])
def test_only_what_never_reached_the_engine_is_counted_here_for_its_versions(submitted: bool) -> None:
    statistics = Statistics(lambda: 1.0)
    log = AccessLog(iter([0.0, 0.5]).__next__, counts=statistics)
    request = log.request("Predict", "a", NOBODY)
    one = request.__enter__()
    one.asked = [Asked(served=INTENT, alias="prod", epoch=1)]
    one.trace.submitted = submitted
    request.__exit__(InvalidRequest, InvalidRequest("no such output"), None)
    assert statistics.version(INTENT.digest).fail.count == (0 if submitted else 1)


def test_rows_that_joined_a_batch_under_way_waited_for_no_time() -> None:
    ended = Ended(entry=entry(trace=Trace(queued_s=2.0, began_s=1.5, ended_s=2.5)), code="ok", began_s=1.9, ended_s=2.5)
    assert (ended.facts()["queue_ms"], ended.facts()["run_ms"]) == (0.0, 500.0)


@given(st.text(), st.text())
def test_no_caller_can_forge_a_line_or_make_it_long(heads: str, request_id: str) -> None:
    ended = Ended(entry=entry(heads=heads, request_id=request_id), code="ok", began_s=0.0, ended_s=1.0)
    for line in (ended.text(), ended.json(0.0)):
        assert len(line.splitlines()) == 1
        assert len(line) < 6000
    assert json.loads(ended.json(0.0))["heads"] == heads[:200]
