"""Messages of the Open Inference Protocol to what the handlers take, and back."""

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from hydrazoo.inference import open_inference_pb2 as pb
from numpy.typing import NDArray

from serving import codec
from serving.batching import Priority
from serving.bounds import MAX_OUTPUTS, MAX_TENSORS, check_count, check_name
from serving.errors import InvalidRequest
from serving.grpc.caller import Caller
from serving.handlers.asked import SEPARATOR
from serving.handlers.inference import InferRequest, InferResponse

__all__ = ["infer_request", "timeout_s", "write_infer_response"]

Parameters = Mapping[str, pb.InferParameter]

REMEMBERED_ANSWERERS = 1024

SHOWN = 40
"""Characters of a wrong value that its error repeats."""

_CONTENTS = {
    "BOOL": "bool_contents",
    "UINT8": "uint_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "FP32": "fp32_contents",
    "BYTES": "bytes_contents",
}
"""Which field of the typed contents holds the elements of a type; FP16 has none."""

_REFUSED = {
    "shared_memory_region": "This server does not reach into its callers' memory; send the tensor in the message.",
    "classification": "This server does not rank scores; read the labels from ModelConfig, or call "
    "hydrazoo.predict.v1, which gives labels.",
}
"""Parameters of a tensor that cannot be ignored, because the caller would misread the answer."""


def infer_request(message: pb.ModelInferRequest, caller: Caller, *, max_rows: int) -> InferRequest:
    """Decode a request.

    Args:
        message: as it came.
        caller: who sent it.
        max_rows: how many rows, and elements of a BYTES tensor, one request may hold.

    Raises:
        InvalidRequest: tensors that are not what they claim or too many, or parameters that this server cannot honour.
    """
    check_count("inputs", len(message.inputs), MAX_TENSORS)
    check_count("outputs", len(message.outputs), MAX_OUTPUTS)
    for sent in message.inputs:
        _check_tensor(sent.name, sent.parameters)
    for wanted in message.outputs:
        _check_tensor(wanted.name, wanted.parameters)
    return InferRequest(
        model=message.model_name,
        version=message.model_version,
        request_id=message.id,
        inputs=_inputs(message, max_rows),
        outputs=tuple(dict.fromkeys(output.name for output in message.outputs)),
        priority=_priority(message.parameters),
        routing_key=_routing_key(message.parameters) or caller.routing_key,
        call=caller.context,
    )


def timeout_s(message: pb.ModelInferRequest) -> float | None:
    """Return the limit that the request's ``timeout`` parameter sets, in seconds; None if it sets none, or 0.

    Raises:
        InvalidRequest: it is not a whole number of microseconds.
    """
    microseconds = _whole(message.parameters, "timeout", "microseconds, 0 for none")
    return microseconds / 1_000_000 if microseconds else None


def _priority(parameters: Parameters) -> Priority:
    """Return what Triton's ``priority`` means here: 1 is high, 0 (its default) and 2 are normal, all else is low."""
    value = _whole(parameters, "priority", "1 (high), 2 (normal) or more (low), and 0 for normal")
    return Priority.NORMAL if value in (0, 2) else Priority.HIGH if value == 1 else Priority.LOW


def _routing_key(parameters: Parameters) -> str:
    if "routing_key" not in parameters:  # looking up a parameter that is not there would add it
        return ""
    parameter = parameters["routing_key"]
    if parameter.WhichOneof("parameter_choice") != "string_param":
        raise InvalidRequest(f"The parameter 'routing_key' is {_described(parameter)}; expected a string_param.")
    return check_name("routing key", parameter.string_param)


def _whole(parameters: Parameters, name: str, meaning: str) -> int:
    """Return a parameter that is a whole number, or 0 if it is not there."""
    if name not in parameters:
        return 0
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    value: int = getattr(parameter, kind) if kind in ("int64_param", "uint64_param") else -1
    if value < 0:
        raise InvalidRequest(
            f"The parameter {name!r} is {_described(parameter)}; expected an int64_param or a uint64_param: {meaning}."
        )
    return value


def _described(parameter: pb.InferParameter) -> str:
    kind = parameter.WhichOneof("parameter_choice")
    return f"{kind} {str(getattr(parameter, kind))[:SHOWN]!r}" if kind else "empty"


def write_infer_response(
    encoded: pb.ModelInferResponse, message: pb.ModelInferRequest, response: InferResponse
) -> None:
    """Write the answer to a request into an empty message; one that is put into another is copied and parsed."""
    who = tuple((one.served.head, one.served.number, one.served.digest, one.alias, one.epoch) for one in response.asked)
    encoded.MergeFromString(_who_answered(who))
    encoded.model_name = message.model_name
    encoded.id = message.id
    for name, array in response.outputs.items():
        encoded.outputs.add(name=name, datatype=codec.datatype_of(array), shape=array.shape)
        encoded.raw_output_contents.append(codec.encode_raw(array))


@lru_cache(REMEMBERED_ANSWERERS)
def _who_answered(who: tuple[tuple[str, int, str, str, int], ...]) -> bytes:
    """Return the part of an answer that depends on its versions alone, serialised; there are few, and all are long."""
    encoded = pb.ModelInferResponse(model_version=SEPARATOR.join(str(number) for _, number, *_ in who))
    for head, _, digest, alias, epoch in who:
        encoded.parameters[f"{head}.version_digest"].string_param = digest
        if alias:
            encoded.parameters[f"{head}.alias"].string_param = alias
            encoded.parameters[f"{head}.alias_epoch"].int64_param = epoch
    return encoded.SerializeToString()


def _check_tensor(name: str, parameters: Parameters) -> None:
    check_name("tensor name", name)
    for parameter, why in _REFUSED.items():
        if parameter in parameters:
            raise InvalidRequest(f"Tensor {name!r} has the parameter {parameter!r}. {why}")


def _inputs(message: pb.ModelInferRequest, max_rows: int) -> dict[str, NDArray[Any]]:
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InvalidRequest(
            f"The request has {len(message.inputs)} inputs and {len(raw)} raw_input_contents; send one buffer for "
            "each input, in their order, or typed contents in every input and no raw ones."
        )
    arrays: dict[str, NDArray[Any]] = {}
    for position, tensor in enumerate(message.inputs):
        if tensor.name in arrays:
            raise InvalidRequest(f"Input {tensor.name!r} is there twice; send each input once.")
        _check_rows(tensor, max_rows)
        arrays[tensor.name] = _decode(tensor, raw[position] if raw else None)
    return arrays


def _check_rows(tensor: pb.ModelInferRequest.InferInputTensor, max_rows: int) -> None:
    """Refuse what would be taken apart element by element only to be refused then."""
    codec.check_axes(tensor.name, tensor.shape)
    rows = math.prod(tensor.shape) if tensor.datatype == "BYTES" else next(iter(tensor.shape), 0)
    if rows > max_rows:
        raise InvalidRequest(
            f"Input {tensor.name!r} has the shape {list(tensor.shape)}; a request holds at most "
            f"{max_rows} rows. Send the rest in further ones."
        )


def _decode(tensor: pb.ModelInferRequest.InferInputTensor, raw: bytes | None) -> NDArray[Any]:
    if raw is None:
        return codec.decode_elements(tensor.name, tensor.datatype, tensor.shape, _elements(tensor))
    if tensor.HasField("contents"):
        raise InvalidRequest(
            f"Input {tensor.name!r} has contents and the request raw_input_contents; send one of them."
        )
    return codec.decode_raw(tensor.name, tensor.datatype, tensor.shape, raw)


def _elements(tensor: pb.ModelInferRequest.InferInputTensor) -> Sequence[Any]:
    """Return the typed elements, and see that there are none of another type."""
    wanted = _CONTENTS.get(tensor.datatype, "")
    found = [field.name for field, _ in tensor.contents.ListFields()]
    if found and found != [wanted]:
        expected = f"contents.{wanted}" if wanted else "raw_input_contents"
        raise InvalidRequest(
            f"Input {tensor.name!r} is {tensor.datatype} and has elements in {' and '.join(found)}; send {expected}."
        )
    return getattr(tensor.contents, wanted) if wanted else ()
