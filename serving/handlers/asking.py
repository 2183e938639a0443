"""From raw inputs to every head's outputs: preprocess, submit, and put the answers of one request together."""

import asyncio
import os
from collections.abc import Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from serving.engine import Engine
from serving.errors import InvalidRequest
from serving.plan import ServedVersion
from serving.runtimes.base import Arrays
from zoo.errors import InvalidInput
from zoo.manifest import TensorSpec
from zoo.preprocessing import Preprocessor, Row
from zoo.preprocessing.row import Raw

__all__ = ["Answered", "Asker"]

T = TypeVar("T")

INLINE_BYTES = 2048
"""What is preprocessed on the event loop: a thread would cost more than a short text takes (tens of microseconds)."""


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
    """

    def __init__(self, engine: Engine, *, max_request_rows: int) -> None:
        self.engine = engine
        self.max_request_rows = max_request_rows
        self._threads = ThreadPoolExecutor(min(8, os.cpu_count() or 1), thread_name_prefix="hydrazoo-preprocess")

    async def ask(
        self, raws: Sequence[Raw], served: Sequence[ServedVersion], *, deadline: float | None
    ) -> Sequence[Answered]:
        """Answer every input with every version, or fail as a whole.

        Versions that preprocess alike share one row of an input, and so the whole of their shared prefix.

        Raises:
            InvalidRequest: no input, or more than one request may hold.
            InvalidInput: an input does not fit a version's preprocessing; of several, the text says which.
            ServingError: whatever the engine refuses.
        """
        if not 0 < len(raws) <= self.max_request_rows:
            raise InvalidRequest(
                f"The request has {len(raws)} rows; send 1 to {self.max_request_rows}, and the rest in further ones."
            )
        groups: dict[str, list[ServedVersion]] = {}
        for version in dict.fromkeys(served):
            groups.setdefault(version.preprocessing, []).append(version)
        rows = {digest: await self._rows(raws, versions[0]) for digest, versions in groups.items()}
        submitted = [self.engine.submit_all(rows[digest], group, deadline=deadline) for digest, group in groups.items()]
        answers = [await submitted[0]] if len(submitted) == 1 else await _all_or_none(submitted)
        return [
            Answered(
                outputs={digest: outputs for group in answers for digest, outputs in group[position].items()},
                rows={digest: group[position] for digest, group in rows.items()},
            )
            for position in range(len(raws))
        ]

    def declared(self, version: ServedVersion) -> tuple[TensorSpec, ...]:
        """Return the ready tensors that a version takes in place of its raw input."""
        return self.engine.preprocessor(version).declared

    def close(self) -> None:
        """Let the preprocessing threads go."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _rows(self, raws: Sequence[Raw], version: ServedVersion) -> list[Row]:
        preprocessor = self.engine.preprocessor(version)
        if sum(map(_size, raws)) <= INLINE_BYTES:
            return _preprocess(raws, preprocessor)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, _preprocess, raws, preprocessor)


def _size(raw: Raw) -> int:
    """Return about how many bytes an input has.

    >>> _size("four")
    4
    """
    return sum(array.nbytes for array in raw.values()) if isinstance(raw, Mapping) else len(raw)


def _preprocess(raws: Sequence[Raw], preprocessor: Preprocessor) -> list[Row]:
    rows = []
    for position, raw in enumerate(raws):
        try:
            rows.append(preprocessor(raw))
        except InvalidInput as error:
            if len(raws) == 1:
                raise
            raise type(error)(f"Row {position} of {len(raws)}: {error}") from error
    return rows


async def _all_or_none(coroutines: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Await all; when one fails, cancel the others and raise what failed."""
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
