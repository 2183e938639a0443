"""A closed-loop load generator: so many callers, each with one request in flight, over one gRPC channel.

It runs in a process of its own and sends bytes that were serialised before the clock started, so
that what it measures is the server and as little as possible of itself.
"""

import asyncio
import itertools
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import grpc
import numpy as np
from hydrazoo.predict.v1 import predict_pb2

from benchmarks.texts import sample_texts

__all__ = ["LoadResult", "run_load"]

METHOD = "/hydrazoo.predict.v1.PredictService/Predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadResult:
    """What one run of the generator saw."""

    callers: int
    requests: int
    rows_per_s: float
    p50_ms: float
    p99_ms: float


def serialised_requests(heads: Sequence[str], count: int = 512) -> list[bytes]:
    """Return serialised requests that ask ``heads`` about texts of ragged length."""
    selectors = [predict_pb2.HeadSelector(name=head) for head in heads]
    return [predict_pb2.PredictRequest(text=text, heads=selectors).SerializeToString() for text in sample_texts(count)]


async def run_load(address: str, requests: Sequence[bytes], callers: int, seconds: float) -> LoadResult:
    """Keep ``callers`` requests in flight for ``seconds``.

    Args:
        address: host and port of the server.
        requests: serialised requests, sent in turn.
        callers: how many wait for an answer at any time.
        seconds: how long new requests are sent.

    Returns:
        Throughput over the whole run, and latency percentiles.
    """
    latencies_s: list[float] = []
    source = itertools.cycle(requests)
    async with grpc.aio.insecure_channel(address) as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            METHOD, request_serializer=None, response_deserializer=None
        )
        await asyncio.gather(*(call(next(source)) for _ in range(callers)))
        started = time.perf_counter()

        async def caller() -> None:
            while (before := time.perf_counter()) < started + seconds:
                await call(next(source))
                latencies_s.append(time.perf_counter() - before)

        await asyncio.gather(*(caller() for _ in range(callers)))
        elapsed_s = time.perf_counter() - started
    p50_ms, p99_ms = np.percentile(1000 * np.asarray(latencies_s), [50, 99])
    return LoadResult(
        callers=callers,
        requests=len(latencies_s),
        rows_per_s=len(latencies_s) / elapsed_s,
        p50_ms=float(p50_ms),
        p99_ms=float(p99_ms),
    )


def main() -> None:
    """Read {address, heads, callers, seconds} as JSON from the command line and print the result as JSON."""
    order = json.loads(sys.argv[1])
    requests = serialised_requests(order["heads"])
    print(json.dumps(asdict(asyncio.run(run_load(order["address"], requests, order["callers"], order["seconds"])))))


if __name__ == "__main__":
    main()
