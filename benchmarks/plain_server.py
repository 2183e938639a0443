"""The yardstick for what the wire costs: the server that a good engineer writes in an hour, and an empty one.

``plain`` is ``grpc.aio``, a queue, and one ONNX Runtime session in a thread: whatever is queued when the session is
free runs as one batch. It answers ``ModelInfer`` and ``ModelStreamInfer`` with the same messages as Hydrazoo does, so
that both pay for the same bytes. It trusts its callers, serves one model, and counts and logs nothing. ``echo``
answers every message with one that was made before: whatever a server does in ``grpc.aio``, it cannot do it faster.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias

import grpc
import numpy as np
import onnxruntime
import uvloop
from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc as pb_grpc
from numpy.typing import NDArray

__all__ = ["Batcher", "EchoService", "PlainService"]

INPUT, OUTPUT = "features_NF", "scores_NC"
MAX_ROWS = 64

Rows: TypeAlias = "NDArray[np.float32]"
Context = grpc.aio.ServicerContext[Any, Any]


class Batcher:
    """Runs rows in batches of up to ``MAX_ROWS``: what came while the batch before it ran."""

    def __init__(self, run: Callable[[Rows], Rows]) -> None:
        self._run = run
        self._queue: asyncio.Queue[tuple[Rows, asyncio.Future[Rows]]] = asyncio.Queue()
        self._thread = ThreadPoolExecutor(1)
        self._task = asyncio.ensure_future(self._serve())

    async def infer(self, rows: Rows) -> Rows:
        """Return what the model makes of ``rows``."""
        future: asyncio.Future[Rows] = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((rows, future))
        return await future

    async def _serve(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await self._queue.get()]
            while len(batch) < MAX_ROWS and not self._queue.empty():
                batch.append(self._queue.get_nowait())
            rows = np.concatenate([rows for rows, _ in batch])
            outputs = await loop.run_in_executor(self._thread, self._run, rows)
            start = 0
            for rows, future in batch:
                if not future.done():
                    future.set_result(outputs[start : start + len(rows)])
                start += len(rows)


class PlainService(pb_grpc.GRPCInferenceServiceServicer):
    """Answers tensors, alone or in a stream."""

    def __init__(self, infer: Callable[[Rows], Awaitable[Rows]]) -> None:
        self._infer = infer

    async def ModelInfer(self, request: pb.ModelInferRequest, _: Context) -> pb.ModelInferResponse:  # noqa: N802 - the wire names it
        """Answer one request."""
        [tensor] = request.inputs
        rows = np.frombuffer(request.raw_input_contents[0], np.float32).reshape(tensor.shape)
        outputs = await self._infer(rows)
        return pb.ModelInferResponse(
            model_name=request.model_name,
            model_version="1",
            id=request.id,
            outputs=[pb.ModelInferResponse.InferOutputTensor(name=OUTPUT, datatype="FP32", shape=outputs.shape)],
            raw_output_contents=[outputs.tobytes()],
        )

    async def ModelStreamInfer(  # noqa: N802 - the wire names it
        self, requests: AsyncIterator[pb.ModelInferRequest], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer a stream in its order, many requests at once."""
        tasks: asyncio.Queue[asyncio.Task[pb.ModelInferResponse] | None] = asyncio.Queue(maxsize=MAX_ROWS)

        async def read() -> None:
            async for request in requests:
                await tasks.put(asyncio.create_task(self.ModelInfer(request, context)))
            await tasks.put(None)

        reader = asyncio.create_task(read())
        while (task := await tasks.get()) is not None:
            yield pb.ModelStreamInferResponse(infer_response=await task)
        await reader


class EchoService:
    """Answers every message with the same bytes, and reads none."""

    def __init__(self, answer: bytes) -> None:
        self._answer = answer

    def handler(self) -> grpc.GenericRpcHandler:
        """Return what takes ``/empty.Echo/Unary`` and ``/empty.Echo/Stream``."""
        return grpc.method_handlers_generic_handler(
            "empty.Echo",
            {
                "Unary": grpc.unary_unary_rpc_method_handler(self._unary),
                "Stream": grpc.stream_stream_rpc_method_handler(self._stream),
            },
        )

    async def _unary(self, _: bytes, __: Context) -> bytes:
        return self._answer

    async def _stream(self, requests: AsyncIterator[bytes], _: Context) -> AsyncIterator[bytes]:
        async for _request in requests:
            yield self._answer


def runner(model: str) -> Callable[[Rows], Rows]:
    """Open the model on one thread; more would only wait for each other on 16 floats."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    [output] = [each.name for each in session.get_outputs()]

    def run(rows: Rows) -> Rows:
        [outputs] = session.run([output], {INPUT: rows})
        return np.asarray(outputs)

    return run


async def serve(kind: str, model: str) -> None:
    """Serve until the process is ended; the port is printed when there is an answer to be had."""
    server = grpc.aio.server()
    if kind == "echo":
        server.add_generic_rpc_handlers((EchoService(bytes(100)).handler(),))
    else:
        batcher = Batcher(runner(model))
        pb_grpc.add_GRPCInferenceServiceServicer_to_server(PlainService(batcher.infer), server)
    port = server.add_insecure_port("localhost:0")
    await server.start()
    print(port, flush=True)
    await server.wait_for_termination()


def main() -> None:
    """Read ``plain`` or ``echo``, ``asyncio`` or ``uvloop``, and the path of an ONNX file from the command line."""
    kind, loop, model = sys.argv[1:]
    with asyncio.Runner(loop_factory=uvloop.new_event_loop if loop == "uvloop" else None) as loop_runner:
        loop_runner.run(serve(kind, model))


if __name__ == "__main__":
    main()
