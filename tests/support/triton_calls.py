"""Calls through the unmodified ``tritonclient``, made in a process of their own.

Its descriptors and ours define the same names, so the two cannot be imported into one process: this module imports
``tritonclient`` inside its functions, and tests call them through ``OtherProcess``.
"""

import asyncio
import queue
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

P = ParamSpec("P")
T = TypeVar("T")
Arrays = Mapping[str, NDArray[Any]]
"""Inputs or outputs by name; text is an array of ``bytes`` objects."""

STREAM_TIMEOUT_S = 20


class OtherProcess:
    """Runs functions of this module elsewhere; what they return and raise comes back."""

    def __init__(self) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __call__(self, function: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
        return self._pool.submit(function, *arguments, **options).result(60)

    def close(self) -> None:
        self._pool.shutdown()


@contextmanager
def client(address: str) -> Iterator[Any]:
    from tritonclient.grpc import InferenceServerClient

    with InferenceServerClient(address) as opened:
        yield opened


def inputs_of(arrays: Arrays) -> list[Any]:
    from tritonclient.grpc import InferInput
    from tritonclient.utils import np_to_triton_dtype

    inputs = []
    for name, array in arrays.items():
        sent = InferInput(name, list(array.shape), np_to_triton_dtype(array.dtype))
        sent.set_data_from_numpy(array)
        inputs.append(sent)
    return inputs


def wanted(outputs: Sequence[str]) -> list[Any] | None:
    from tritonclient.grpc import InferRequestedOutput

    return [InferRequestedOutput(name) for name in outputs] or None


def answer(result: Any) -> dict[str, Any]:
    """Return an ``InferResult`` as plain values."""
    response = result.get_response(as_json=True)
    arrays = {output["name"]: result.as_numpy(output["name"]) for output in response["outputs"]}
    return {
        "outputs": arrays,
        **{key: value for key, value in response.items() if key in {"id", "parameters"}},
        "version": response["model_version"],
        "model": response["model_name"],
    }


def refusal(error: Any) -> dict[str, str]:
    return {"status": str(error.status()), "message": str(error.message())}


def infer(address: str, model: str, arrays: Arrays, outputs: Sequence[str] = (), **options: Any) -> dict[str, Any]:
    """Call ``infer``; a refusal is returned, not raised."""
    from tritonclient.utils import InferenceServerException

    with client(address) as opened:
        try:
            return answer(opened.infer(model, inputs_of(arrays), outputs=wanted(outputs), **options))
        except InferenceServerException as error:
            return refusal(error)


def async_infer(address: str, model: str, batches: Sequence[Arrays]) -> list[dict[str, Any]]:
    """Call ``async_infer`` for every batch at once; return the answers by request id."""
    done: queue.Queue[Any] = queue.Queue()
    with client(address) as opened:
        for number, arrays in enumerate(batches):
            opened.async_infer(
                model,
                inputs_of(arrays),
                callback=lambda result, error: done.put((result, error)),
                request_id=str(number),
            )
        found = [done.get(timeout=STREAM_TIMEOUT_S) for _ in batches]
    assert all(error is None for _, error in found)
    return sorted((answer(result) for result, _ in found), key=lambda each: int(each["id"]))


def stream_infer(address: str, requests: Sequence[tuple[str, Arrays]]) -> list[dict[str, Any]]:
    """Send every request, model and inputs, over one stream; return what comes back in the order in which it came."""
    done: queue.Queue[Any] = queue.Queue()
    with client(address) as opened:
        opened.start_stream(callback=lambda result, error: done.put((result, error)))
        for number, (model, arrays) in enumerate(requests):
            opened.async_stream_infer(model, inputs_of(arrays), request_id=str(number))
        found = [done.get(timeout=STREAM_TIMEOUT_S) for _ in requests]
        opened.stop_stream()
    return [refusal(error) if error else answer(result) for result, error in found]


def describe(address: str, model: str) -> dict[str, Any]:
    """Ask everything there is to ask about a model and about the server."""
    with client(address) as opened:
        return {
            "live": opened.is_server_live(),
            "ready": opened.is_server_ready(),
            "model_ready": opened.is_model_ready(model),
            "other_ready": opened.is_model_ready("no-such-head"),
            "server": opened.get_server_metadata(as_json=True),
            "metadata": opened.get_model_metadata(model, as_json=True),
            "config": opened.get_model_config(model, as_json=True)["config"],
            "index": opened.get_model_repository_index(as_json=True)["models"],
        }


def statistics(address: str, model: str) -> list[dict[str, Any]]:
    with client(address) as opened:
        found: list[dict[str, Any]] = opened.get_inference_statistics(model, as_json=True)["model_stats"]
        return found


def load_model(address: str, model: str) -> dict[str, str]:
    """Try a call that this server does not have."""
    from tritonclient.utils import InferenceServerException

    with client(address) as opened:
        try:
            opened.load_model(model)
        except InferenceServerException as error:
            return refusal(error)
    raise AssertionError("load_model was answered")


def aio(address: str, model: str, arrays: Arrays, times: int) -> dict[str, Any]:
    """Call the asyncio client: ``infer`` many times at once, and ``stream_infer``."""
    from tritonclient.grpc.aio import InferenceServerClient

    async def requests() -> Any:
        for number in range(times):
            yield {"model_name": model, "inputs": inputs_of(arrays), "request_id": str(number)}

    async def run() -> dict[str, Any]:
        async with InferenceServerClient(address) as opened:
            answers = await asyncio.gather(*(opened.infer(model, inputs_of(arrays)) for _ in range(times)))
            streamed = [(result, error) async for result, error in opened.stream_infer(requests())]
            return {
                "ready": await opened.is_model_ready(model),
                "answers": [answer(result) for result in answers],
                "streamed": [answer(result) for result, _ in streamed],
            }

    return asyncio.run(run())


def texts_of(*texts: str) -> dict[str, NDArray[Any]]:
    """Return a text input of one row a text."""
    return {"text": np.array([[text.encode()] for text in texts], np.object_)}
