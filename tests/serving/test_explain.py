import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from serving.explain import explain_policy

LINES = [
    {"at_s": 0.0, "team": "cs", "tokens": 100},
    {"at_s": 0.001, "team": "cs", "tokens": 20},
    {"at_s": 0.001, "team": "hr", "tokens": 20},
    {"at_s": 0.002, "team": "hr", "tokens": 90, "timeout_s": 0.001},
    {"costs": {"body": {"fixed_s": 0.001, "per_token_s": 0.0001}}},
]


def explained(*options: str, lines: object = LINES) -> Result:
    text = "\n".join(map(json.dumps, lines))  # type: ignore[call-overload]
    return CliRunner().invoke(explain_policy, ["-", *options], input=text)


def test_each_batch_is_a_line_with_when_who_how_long_and_why() -> None:
    result = explained()
    assert result.exit_code == 0, result.output
    header, first, second = result.output.splitlines()[:3]
    assert " ".join(header.split()) == ("at ms lane rows of width padding predicted ms took ms built for up to teams")
    assert first.split()[:6] == ["0.0", "0", "1", "1", "100", "0%"]
    assert "11.0" in first.split()
    assert second.split()[:5] == ["11.0", "0", "2", "3", "20"]
    assert second.rstrip().endswith("cs:1 hr:1")
    assert "turn" in second


def test_the_summary_says_how_each_team_fared() -> None:
    result = explained("--summary")
    lines = result.output.splitlines()
    assert lines[0].startswith("2 batches, 0.0% of the tokens padding.")
    (hr,) = (line for line in lines if line.startswith("hr"))
    assert hr.split()[-4:] == ["1", "expired,", "1", "answered"]


def test_as_json_it_says_the_same() -> None:
    found = json.loads(explained("--json", "--lanes", "2").output)
    assert [batch["teams"] for batch in found["batches"]] == [{"cs": 1}, {"cs": 1, "hr": 1}]
    assert found["batches"][1]["lane"] == 1
    assert found["summary"]["teams"]["cs"]["answered"] == 2


def test_a_trace_without_a_line_is_no_batch() -> None:
    assert explained(lines=[]).output.startswith("0 batches")


def test_costs_that_the_trace_does_not_have_come_from_the_options() -> None:
    found = json.loads(explained("--json", "--fixed-us", "5000", "--per-token-us", "0", lines=LINES[:1]).output)
    assert found["batches"][0]["took_s"] == pytest.approx(0.005)


@pytest.mark.parametrize("weight", ["cs", "=2", "cs=0", "cs=x", "cs=inf", "cs=nan"])
def test_a_weight_that_is_none_is_a_misuse(weight: str) -> None:
    result = explained("--weight", weight)
    assert result.exit_code == 2
    assert "expected TEAM=WEIGHT" in result.output


def test_a_file_is_read_as_well(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(json.dumps(LINES[0]))
    result = CliRunner().invoke(explain_policy, [str(trace), "--weight", "cs=2"])
    assert result.exit_code == 0, result.output
