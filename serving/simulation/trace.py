"""Recorded traffic: JSON lines, one for each row that was queued. ``docs/traces.md`` describes the fields."""

import json
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite
from pathlib import Path
from threading import Lock
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.batching.priority import Priority
from serving.batching.rows import WaitingRow
from serving.simulation.errors import InvalidTrace
from serving.simulation.traffic import Ask
from serving.simulation.truth import NodeCost
from zoo.suggest import did_you_mean

__all__ = ["Trace", "TraceWriter", "read_trace"]

Name = Literal["high", "normal", "low"]


class _Line(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Arrival(_Line):
    at_s: float = Field(ge=0)
    team: str
    tokens: int = Field(1, ge=1)
    rows: int = Field(1, ge=1)
    nbytes: int = Field(0, ge=0)
    priority: Name = "normal"
    timeout_s: float | None = Field(None, ge=0)
    cancel_s: float | None = Field(None, ge=0)
    start: str = "root"
    paths: list[str] = Field(["body"], min_length=1)


class _Cost(_Line):
    fixed_s: float = Field(ge=0)
    per_token_s: float = Field(ge=0)


class _Costs(_Line):
    costs: dict[str, _Cost]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was recorded.

    Attributes:
        asks: the arrivals, in order.
        costs: by path, what nodes cost where it was recorded; empty if that was not written down.
    """

    asks: tuple[Ask, ...]
    costs: Mapping[str, NodeCost]


class TraceWriter:
    """Writes one line for each row that is queued. Safe to call from any thread.

    Args:
        path: a file that is made, or emptied.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._lock = Lock()
        self._began_s: float | None = None

    def arrival(self, start: Hashable, row: WaitingRow) -> None:
        """Write down a row that is queued; times count from the first one.

        Args:
            start: where in the plan it starts; rows of one start share a number.
            row: what is queued.
        """
        with self._lock:
            began_s = self._began_s = row.arrived_s if self._began_s is None else self._began_s
            line: dict[str, Any] = {
                "at_s": round(max(0.0, row.arrived_s - began_s), 6),
                "team": row.team,
                "tokens": row.length,
                "nbytes": row.nbytes,
                "start": f"{hash(start) & 0xFFFFFFFF:08x}",
                "paths": row.paths,
            }
            if row.priority is not Priority.NORMAL:
                line["priority"] = row.priority.name.lower()
            if isfinite(row.deadline_s):
                line["timeout_s"] = round(max(0.0, row.deadline_s - row.arrived_s), 6)
            self._write(line)

    def costs(self, costs: Mapping[str, tuple[float, float]]) -> None:
        """Write down what nodes cost: by path, seconds for each run and for each token. The last such line counts."""
        lines = {path: {"fixed_s": fixed_s, "per_token_s": token_s} for path, (fixed_s, token_s) in costs.items()}
        with self._lock:
            self._write({"costs": lines})

    def close(self) -> None:
        """Finish the file; what comes later is not written."""
        with self._lock:
            self._file.close()

    def _write(self, line: Mapping[str, Any]) -> None:
        if not self._file.closed:
            self._file.write(json.dumps(line) + "\n")


def read_trace(lines: Iterable[str]) -> Trace:
    """Read recorded traffic.

    Args:
        lines: of JSON; empty ones are passed over.

    Returns:
        Its arrivals in order, and the costs if there are any.

    Raises:
        InvalidTrace: a line is not as described; the text says which, and what is wrong with it.
    """
    asks: list[Ask] = []
    costs: dict[str, NodeCost] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            if line.startswith('{"costs"'):
                found = _Costs.model_validate_json(line).costs
                costs = {path: NodeCost(cost.fixed_s, cost.per_token_s) for path, cost in found.items()}
            else:
                asks.append(_ask(_Arrival.model_validate_json(line)))
        except ValidationError as error:
            raise InvalidTrace(f"Line {number}: {_why(error)}") from error
    return Trace(asks=tuple(sorted(asks, key=lambda ask: ask.at_s)), costs=costs)


def _ask(line: _Arrival) -> Ask:
    return Ask(
        at_s=line.at_s,
        team=line.team,
        tokens=line.tokens,
        rows=line.rows,
        nbytes=line.nbytes,
        priority=Priority[line.priority.upper()],
        timeout_s=inf if line.timeout_s is None else line.timeout_s,
        cancel_s=inf if line.cancel_s is None else line.cancel_s,
        start=line.start,
        paths=tuple(line.paths),
    )


def _why(error: ValidationError) -> str:
    """Return the first thing that is wrong, and for a field that does not exist the closest that does."""
    first = error.errors()[0]
    name = ".".join(map(str, first["loc"]))
    if first["type"] != "extra_forbidden":
        return f"{name}: {first['msg']}; got {first['input']!r}." if name else f"{first['msg']}."
    return f"There is no field {name!r}.{did_you_mean(name, _Arrival.model_fields)}"
