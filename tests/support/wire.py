"""What tests of the wire share: requests of the inference protocol, their answers, and refused calls."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
import numpy as np
import pytest
from hydrazoo.inference import open_inference_pb2 as pb
from numpy.typing import NDArray

from serving.codec import array_of_bytes, datatype_of, decode_raw, encode_raw


@dataclass
class Refused:
    """How a call ended; filled when its block ends."""

    status: grpc.StatusCode = grpc.StatusCode.OK
    message: str = ""
    metadata: Mapping[str, str] | None = None

    @property
    def code(self) -> str:
        assert self.metadata is not None
        return self.metadata["hydrazoo-error-code"]


@contextmanager
def refused() -> Iterator[Refused]:
    """Expect the call in the block to be refused, and tell how."""
    found = Refused()
    with pytest.raises(grpc.RpcError) as caught:
        yield found
    error: Any = caught.value
    found.status, found.message = error.code(), error.details()
    found.metadata = dict(error.trailing_metadata())


def infer_request(model: str, inputs: Mapping[str, NDArray[Any]], **fields: Any) -> pb.ModelInferRequest:
    """Return a request with raw contents."""
    return pb.ModelInferRequest(
        model_name=model,
        inputs=[
            pb.ModelInferRequest.InferInputTensor(name=name, datatype=datatype_of(array), shape=array.shape)
            for name, array in inputs.items()
        ],
        raw_input_contents=[encode_raw(array) for array in inputs.values()],
        **fields,
    )


def text_request(model: str, *texts: str, **fields: Any) -> pb.ModelInferRequest:
    """Return a request of one BYTES input."""
    return infer_request(model, {"text": array_of_bytes(text.encode() for text in texts)}, **fields)


def outputs_of(response: pb.ModelInferResponse) -> dict[str, NDArray[Any]]:
    """Return the outputs of an answer by name."""
    return {
        tensor.name: decode_raw(tensor.name, tensor.datatype, tensor.shape, raw)
        for tensor, raw in zip(response.outputs, response.raw_output_contents, strict=True)
    }


def padded(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Stack rows, padded with zeros to the longest."""
    shape = np.max([row.shape for row in rows], axis=0)
    return np.stack(
        [np.pad(row, [(0, most - size) for size, most in zip(row.shape, shape, strict=True)]) for row in rows]
    )


def texts(count: int) -> Iterable[str]:
    """Return different texts of different lengths."""
    return [f"refund order {number} {'please ' * (number % 5)}" for number in range(count)]
