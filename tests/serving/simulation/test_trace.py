import json
import re
from math import inf
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from serving.batching import Priority
from serving.simulation import Ask, TraceWriter, read_trace
from serving.simulation.errors import InvalidTrace
from serving.simulation.truth import NodeCost
from tests.support.waiting import Waiting


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    writer = TraceWriter(tmp_path / "trace.jsonl")
    writer.arrival("root", Waiting(arrived_s=5.0, length=22, nbytes=176, team="cs", paths=("body", "head")))
    writer.arrival("root", Waiting(arrived_s=5.5, length=3, deadline_s=5.75, team="hr", priority=Priority.HIGH))
    writer.costs({"body": (0.001, 0.0001)})
    writer.close()
    writer.arrival("root", Waiting())  # comes too late
    trace = read_trace((tmp_path / "trace.jsonl").read_text().splitlines())
    first, second = trace.asks
    assert first == Ask(at_s=0.0, team="cs", tokens=22, nbytes=176, paths=("body", "head"), start=first.start)
    assert second == Ask(
        at_s=0.5, team="hr", tokens=3, timeout_s=0.25, priority=Priority.HIGH, paths=("body",), start=first.start
    )
    assert trace.costs == {"body": NodeCost(0.001, 0.0001)}


def test_little_is_needed_and_order_does_not_matter() -> None:
    trace = read_trace(['{"at_s": 2, "team": "cs"}', "", '{"at_s": 1, "team": "hr", "cancel_s": 0.5}'])
    assert [(ask.at_s, ask.team, ask.timeout_s, ask.cancel_s) for ask in trace.asks] == [
        (1.0, "hr", inf, 0.5),
        (2.0, "cs", inf, inf),
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"Line 2: Invalid JSON"),
        ("[]", r"Line 2: .*object"),
        ('{"team": "cs"}', r"Line 2: at_s: Field required"),
        ('{"at_s": 0, "team": "cs", "tokns": 3}', r"Line 2: There is no field 'tokns'\. Did you mean 'tokens'\?"),
        ('{"at_s": 0, "team": "cs", "tokens": 0}', r"Line 2: tokens: .*greater than or equal to 1; got 0"),
        ('{"at_s": 0, "team": "cs", "tokens": "9"}', r"Line 2: tokens: .*integer; got '9'"),
        ('{"at_s": NaN, "team": "cs"}', r"Line 2: at_s"),
        ('{"at_s": 0, "team": "cs", "priority": "top"}', r"Line 2: priority: .*'high', 'normal' or 'low'; got 'top'"),
        ('{"costs": {"body": {"fixed_s": -1, "per_token_s": 0}}}', r"Line 2: costs\.body\.fixed_s"),
    ],
)
def test_a_line_that_is_not_as_described_is_refused_and_named(line: str, said: str) -> None:
    with pytest.raises(InvalidTrace, match=said):
        read_trace([json.dumps({"at_s": 0, "team": "cs"}), line])


def test_the_document_describes_every_field_and_its_examples_can_be_read() -> None:
    text = (Path(__file__).parents[3] / "docs" / "traces.md").read_text()
    trace = read_trace(line.strip() for line in text.splitlines() if line.startswith("    {"))
    assert (len(trace.asks), len(trace.costs)) == (1, 1)
    described = set(re.findall(r"^\| `(\w+)` ", text.partition("A line with")[0], re.MULTILINE))
    arrival = TypeAdapter(Ask).json_schema()["properties"].keys()
    assert described == set(arrival)
