"""The load generator: callers over one gRPC channel, in a process of its own.

It sends bytes that were serialised before the clock started, so that what it measures is the server and as
little as possible of itself; how much of a core it took itself is among its results.
"""

import asyncio
import itertools
import json
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np
import uvloop
from hydrazoo.predict.v1 import predict_pb2

from benchmarks.inputs import sample_images, sample_texts, zipf_texts

__all__ = ["LoadOrder", "LoadResult", "run_load"]

METHOD = "/hydrazoo.predict.v1.PredictService/Predict"
REQUESTS = 2048
"""Different requests that are made before the clock starts; they are sent in turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOrder:
    """What to send.

    Attributes:
        address: host and port of the server.
        seconds: how long new requests are sent.
        heads: sets of heads; each input is sent to the next set.
        callers: how many inputs are in flight at any time; with a ``rate`` there is no such bound.
        one_call: a set of heads is asked in one call; else in a call for each head, all at once, and the input is
            answered when the last of them is.
        kind: "text" (ragged), "image" (JPEG), or "zipf": texts repeated as Zipf's law has it.
        rate: inputs sent each second whatever comes back; 0 waits for answers.
        deadline_s: of each call; 0 for none.
        cancelled: share of calls that are cancelled at a random moment.
        cancel_within_s: the latest such moment after the call.
        warm_up: inputs sent before the clock starts.
        keep_answers: return which version and epoch answered, and when it was asked.
        seed: of everything that is random.
    """

    address: str
    seconds: float
    heads: Sequence[Sequence[str]]
    callers: int = 64
    one_call: bool = True
    kind: str = "text"
    rate: float = 0.0
    deadline_s: float = 0.0
    cancelled: float = 0.0
    cancel_within_s: float = 0.1
    warm_up: int = 64
    keep_answers: bool = False
    seed: int = 0


@dataclass(slots=True, kw_only=True)
class LoadResult:
    """What one run of the generator saw."""

    inputs: int = 0
    """Inputs that were answered."""
    inputs_per_s: float = 0.0
    p50_ms: float = 0.0
    p99_ms: float = 0.0
    statuses: dict[str, int] = field(default_factory=dict)
    """How often calls ended in which gRPC status."""
    refusal_p99_ms: float = 0.0
    """Of calls that ended in RESOURCE_EXHAUSTED, or in DEADLINE_EXCEEDED before their deadline."""
    own_cpu: float = 0.0
    """Cores that the generator itself used."""
    answers: list[tuple[float, float, str, int, int]] = field(default_factory=list)
    """When it was asked and answered (Unix time), head, number and epoch."""


class Load:
    """One run."""

    def __init__(self, order: LoadOrder, channel: grpc.aio.Channel) -> None:
        self._order = order
        self._call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHOD, request_serializer=None, response_deserializer=None
        )
        self._random = random.Random(order.seed)
        self._source = itertools.cycle(serialised(order))
        self._latencies_s: list[float] = []
        self._refusals_s: list[float] = []
        self._statuses: Counter[str] = Counter()
        self._answers: list[tuple[float, float, str, int, int]] = []

    async def run(self) -> LoadResult:
        """Warm up, send for as long as ordered, and wait for what is under way."""
        for _ in range(0, self._order.warm_up, self._order.callers):
            await asyncio.gather(*(self._input() for _ in range(self._order.callers)))
        self._latencies_s.clear()
        self._statuses.clear()
        self._answers.clear()
        cpu_s, started = time.process_time(), time.perf_counter()
        end = started + self._order.seconds
        if self._order.rate:
            await self._open_loop(end)
        else:
            await asyncio.gather(*(self._caller(end) for _ in range(self._order.callers)))
        elapsed_s = time.perf_counter() - started
        return LoadResult(
            inputs=len(self._latencies_s),
            inputs_per_s=len(self._latencies_s) / elapsed_s,
            p50_ms=percentile_ms(self._latencies_s, 50),
            p99_ms=percentile_ms(self._latencies_s, 99),
            statuses=dict(self._statuses),
            refusal_p99_ms=percentile_ms(self._refusals_s, 99),
            own_cpu=(time.process_time() - cpu_s) / elapsed_s,
            answers=self._answers,
        )

    async def _caller(self, end: float) -> None:
        while time.perf_counter() < end:
            await self._input()

    async def _open_loop(self, end: float) -> None:
        """Send at a fixed rate; what came due while the loop was busy is sent at once."""
        tasks: set[asyncio.Task[None]] = set()
        due = time.perf_counter()
        while (now := time.perf_counter()) < end:
            while due <= now:
                task = asyncio.ensure_future(self._input())
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                due += self._random.expovariate(self._order.rate)
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await asyncio.gather(*tasks)

    async def _input(self) -> None:
        """Send one input, in one call or in several at once, and note how it went."""
        before = time.perf_counter()
        ended = await asyncio.gather(*(self._one(request) for request in next(self._source)))
        if all(ended):
            self._latencies_s.append(time.perf_counter() - before)

    async def _one(self, request: bytes) -> bool:
        before, asked_at = time.perf_counter(), time.time()
        call = self._call(request, timeout=self._order.deadline_s or None)
        if self._order.cancelled and self._random.random() < self._order.cancelled:
            asyncio.get_running_loop().call_later(self._random.uniform(0, self._order.cancel_within_s), call.cancel)
        try:
            answer = await call
        except asyncio.CancelledError:
            self._statuses["CANCELLED"] += 1
            return False
        except grpc.aio.AioRpcError as error:
            took_s = time.perf_counter() - before
            self._statuses[error.code().name] += 1
            early = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED and took_s < 0.95 * self._order.deadline_s
            if early or error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                self._refusals_s.append(took_s)
            return False
        self._statuses["OK"] += 1
        if self._order.keep_answers:
            for each in predict_pb2.PredictResponse.FromString(answer).predictions:
                version = each.version
                self._answers.append((asked_at, time.time(), each.head, version.number, version.alias_epoch))
        return True


def serialised(order: LoadOrder) -> list[tuple[bytes, ...]]:
    """Return the calls of each input, as bytes."""
    sets = itertools.cycle(order.heads)
    return [
        tuple(request(raw, heads) for heads in ((heads,) if order.one_call else [[head] for head in heads]))
        for raw, heads in zip(raw_inputs(order), sets, strict=False)
    ]


def raw_inputs(order: LoadOrder) -> Iterator[str | bytes]:
    """Return the inputs that are sent in turn."""
    make: dict[str, Callable[[int], Sequence[str | bytes]]] = {
        "text": sample_texts,
        "image": lambda _: sample_images(512),
        "zipf": lambda _: zipf_texts(40_000, seed=order.seed),
    }
    return iter(make[order.kind](REQUESTS))


def request(raw: str | bytes, heads: Sequence[str]) -> bytes:
    """Return a serialised request that asks ``heads`` about one input."""
    selectors = [predict_pb2.HeadSelector(name=head) for head in heads]
    if isinstance(raw, str):
        return predict_pb2.PredictRequest(text=raw, heads=selectors).SerializeToString()
    return predict_pb2.PredictRequest(image=raw, heads=selectors).SerializeToString()


def percentile_ms(seconds: Sequence[float], percent: float) -> float:
    """Return a percentile in milliseconds; 0 of nothing.

    >>> percentile_ms([0.001, 0.003], 50)
    2.0
    """
    return round(1000 * float(np.percentile(seconds, percent)), 6) if seconds else 0.0


async def run_load(order: LoadOrder) -> LoadResult:
    """Send what is ordered, and return what came back."""
    async with grpc.aio.insecure_channel(order.address) as channel:
        return await Load(order, channel).run()


def main() -> None:
    """Read an order as JSON from the command line and print the result as JSON."""
    order: dict[str, Any] = json.loads(sys.argv[1])
    print(json.dumps(asdict(uvloop.run(run_load(LoadOrder(**order))))))


if __name__ == "__main__":
    main()
