"""From raw inputs to every head's outputs: preprocess, submit, and put the answers of one request together."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.answering import Answering
from serving.batching import Priority
from serving.errors import InvalidRequest
from serving.handlers.preparing import Preparation
from serving.plan import LoadedPlan, ServedVersion
from serving.request import Trace
from serving.runtimes.base import Arrays
from zoo.preprocessing import Row
from zoo.preprocessing.row import Raw

__all__ = ["Answered", "Asker"]

T = TypeVar("T")

MAX_PREPARING_ROWS = 1024
MAX_PREPARING_BYTES = 256 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """One input's answers."""

    outputs: Mapping[str, Arrays]
    """By version digest: its outputs, without the N axis."""
    rows: Mapping[str, Row]
    """By preprocessing digest: what the input became."""


class Asker:
    """Asks the engine on behalf of the handlers.

    Args:
        engine: answers preprocessed rows.
        max_request_rows: how many inputs one request may hold.
        max_preparing_rows: how many inputs may wait for preprocessing.
        max_preparing_bytes: how many bytes these may have.
        remembered_bytes: of preprocessed short texts that are kept for the next time; 0 keeps none.
    """

    def __init__(
        self,
        engine: Answering,
        *,
        max_request_rows: int,
        max_preparing_rows: int = MAX_PREPARING_ROWS,
        max_preparing_bytes: int = MAX_PREPARING_BYTES,
        remembered_bytes: int = 0,
    ) -> None:
        self.engine = engine
        self.max_request_rows = max_request_rows
        self._preparation = Preparation(
            max_rows=max_preparing_rows, max_bytes=max_preparing_bytes, remembered_bytes=remembered_bytes
        )

    async def ask(
        self,
        raws: Sequence[Raw],
        served: Sequence[ServedVersion],
        *,
        loaded: LoadedPlan,
        deadline: float | None,
        priority: Priority = Priority.NORMAL,
        shadows: Sequence[ServedVersion] = (),
        trace: Trace | None = None,
    ) -> Sequence[Answered]:
        """Answer every input with every version of ``loaded``, or fail as a whole; what shadows give is among it.

        Versions that preprocess alike share one row of an input, and so the whole of their shared prefix.

        Raises:
            InvalidRequest: no input, or more than one request may hold.
            InvalidInput: an input does not fit a version's preprocessing; of several, the text says which.
            Overloaded: too much waits, for preprocessing or for the device.
            ServingError: whatever the engine refuses.
        """
        if not 0 < len(raws) <= self.max_request_rows:
            raise InvalidRequest(
                f"The request has {len(raws)} rows; send 1 to {self.max_request_rows}, and the rest in further ones."
            )
        groups: dict[str, list[ServedVersion]] = {}
        for version in dict.fromkeys(served):
            groups.setdefault(version.preprocessing, []).append(version)
        if len(raws) * len(groups) > self.max_request_rows:
            raise InvalidRequest(
                f"The request has {len(raws)} rows, for heads of {len(groups)} ways to preprocess each; one request "
                f"holds at most {self.max_request_rows} of them together. Ask such heads apart, or send fewer rows."
            )
        for group in groups.values():
            self.engine.check_room(group, len(raws), deadline)
        rows = {}
        for digest in groups:
            rows[digest] = await self._preparation.rows(raws, digest, loaded.preprocessors[digest])
        if trace is not None:
            trace.submitted = True
        submitted = [
            self.engine.submit_all(
                rows[digest],
                group,
                loaded=loaded,
                deadline=deadline,
                priority=priority,
                shadows=[shadow for shadow in shadows if shadow.preprocessing == digest],
                trace=trace,
            )
            for digest, group in groups.items()
        ]
        answers = [await submitted[0]] if len(submitted) == 1 else await _all_or_none(submitted)
        return [
            Answered(
                outputs={digest: outputs for group in answers for digest, outputs in group[position].items()},
                rows={digest: group[position] for digest, group in rows.items()},
            )
            for position in range(len(raws))
        ]

    def close(self) -> None:
        """Let the preprocessing threads go."""
        self._preparation.close()


async def _all_or_none(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all; when one fails, cancel the others and raise what failed."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
