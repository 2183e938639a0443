"""Messages of the typed service to what its handler takes, and back.

Answers are written into messages in place: a message that is put into another is copied, serialised and parsed.
"""

from functools import lru_cache
from typing import Any

from hydrazoo.predict.v1 import predict_pb2 as pb
from numpy.typing import NDArray

from serving import codec
from serving.batching import Priority
from serving.bounds import MAX_HEADS, MAX_TENSORS, check_count, check_name
from serving.errors import InvalidRequest
from serving.grpc.caller import Caller
from serving.grpc.status import Refusal
from serving.handlers.predict import HeadChoice, Prediction, PredictRequest, PredictResponse
from zoo.answers import Classification, Embedding, Multilabel, Regression, Segmentation, Tagging
from zoo.preprocessing.row import Arrays, Raw

__all__ = ["predict_request", "write_refusal", "write_response"]

_DATATYPES: dict[str, str] = {dtype: datatype for dtype, datatype in codec.DTYPES.items() if dtype != "bytes"}

REMEMBERED_CHOICES = 4096

_PRIORITIES: dict[int, Priority] = {
    pb.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    pb.PRIORITY_HIGH: Priority.HIGH,
    pb.PRIORITY_NORMAL: Priority.NORMAL,
    pb.PRIORITY_LOW: Priority.LOW,
}


def predict_request(message: pb.PredictRequest, caller: Caller) -> PredictRequest:
    """Decode a request.

    Args:
        message: as it came.
        caller: who sent it.

    Raises:
        InvalidRequest: there is no input, tensors are not what they claim, there is too much of something, or the
            priority is none.
    """
    check_count("heads", len(message.heads), MAX_HEADS)
    choices = tuple([_choice(head.name, _version(head)) for head in message.heads])
    return PredictRequest(
        raw=_raw(message),
        heads=choices,
        request_id=message.request_id,
        priority=_priority(message.priority),
        routing_key=check_name("routing key", message.routing_key) or caller.routing_key,
        call=caller.context,
    )


def write_response(message: pb.PredictResponse, response: PredictResponse) -> None:
    """Write the answers into an empty message."""
    message.request_id = response.request_id
    message.server_time_us = response.server_time_us
    for prediction in response.predictions:
        _write_prediction(message.predictions.add(), prediction)


def write_refusal(message: pb.StreamedError, ended: Refusal) -> None:
    """Write why a request of a stream failed into an empty message."""
    message.status = ended.status.value[0]
    message.code = ended.code
    message.message = ended.message
    message.retry_after_ms = ended.retry_after_ms or 0


@lru_cache(REMEMBERED_CHOICES)
def _choice(head: str, version: str) -> HeadChoice:
    return HeadChoice(head=check_name("head", head), version=version)


def _version(head: pb.HeadSelector) -> str:
    return str(head.number) if head.WhichOneof("version") == "number" else check_name("alias", head.alias)


def _priority(value: int) -> Priority:
    priority = _PRIORITIES.get(value)
    if priority is None:
        known = ", ".join(f"{name} ({number})" for name, number in pb.Priority.items())
        raise InvalidRequest(f"The request has the priority {value}; it is one of {known}.")
    return priority


def _raw(message: pb.PredictRequest) -> Raw:
    match message.WhichOneof("input"):
        case "text":
            return message.text
        case "image":
            return message.image
        case "tensors":
            return _tensors(message.tensors)
    raise InvalidRequest("The request has no input; set text, image or tensors.")


def _tensors(message: pb.TensorInput) -> Arrays:
    check_count("tensors", len(message.tensors), MAX_TENSORS)
    arrays = {check_name("tensor name", tensor.name): _tensor(tensor) for tensor in message.tensors}
    if len(arrays) < len(message.tensors):
        raise InvalidRequest("The request has two tensors of one name; send each once.")
    return arrays


def _tensor(tensor: pb.Tensor) -> NDArray[Any]:
    if tensor.dtype not in _DATATYPES:
        known = ", ".join(_DATATYPES)
        raise InvalidRequest(f"Tensor {tensor.name!r} has the dtype {tensor.dtype!r}; it is one of {known}.")
    return codec.decode_raw(tensor.name, _DATATYPES[tensor.dtype], tensor.shape, tensor.data)


def _write_prediction(message: pb.Prediction, prediction: Prediction) -> None:
    asked, version = prediction.asked, message.version
    message.head = asked.served.head
    version.number = asked.served.number
    version.digest = asked.served.digest
    version.alias = asked.alias
    version.alias_epoch = asked.epoch
    unsure = getattr(prediction.answer, "uncertainty", None)
    if unsure is not None:
        message.uncertainty = unsure
    match prediction.answer:
        case Classification() as answer:
            message.classification.label = answer.label
            add_score = message.classification.scores.add
            for label, score in answer.scores.items():
                add_score(label=label, score=score)
        case Multilabel() as answer:
            message.multilabel.labels.extend(answer.labels)
            message.multilabel.SetInParent()  # an answer without any label is one too
            add_score = message.multilabel.scores.add
            for label, score in answer.scores.items():
                add_score(label=label, score=score)
        case Regression() as answer:
            message.regression.value = answer.value
            message.regression.low = answer.low
            message.regression.high = answer.high
        case Tagging() as answer:
            message.tagging.SetInParent()
            add_span = message.tagging.spans.add
            for span in answer.spans:
                add_span(label=span.label, start=span.start, end=span.end, text=span.text, score=span.score)
        case Embedding() as answer:
            message.embedding.vector.extend(answer.vector)
        case Segmentation() as answer:
            message.segmentation.mask_png = answer.mask.to_png()
            message.segmentation.height = answer.mask.height
            message.segmentation.width = answer.mask.width
            add_share = message.segmentation.shares.add
            for label, share in answer.shares.items():
                add_share(label=label, share=share)
