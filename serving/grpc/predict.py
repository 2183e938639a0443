"""The service of typed answers."""

from collections.abc import Callable, Mapping
from typing import Any

from hydrazoo.predict.v1 import predict_pb2 as pb
from hydrazoo.predict.v1 import predict_pb2_grpc
from numpy.typing import NDArray

from serving import codec
from serving.batching import Priority
from serving.bounds import MAX_HEADS, MAX_TENSORS, check_count, check_name
from serving.errors import InvalidRequest
from serving.grpc.caller import Caller, caller_of
from serving.grpc.guard import Context
from serving.grpc.timing import deadline_of
from serving.handlers import PredictHandler
from serving.handlers.asked import Asked
from serving.handlers.predict import HeadChoice, Prediction, PredictRequest, PredictResponse
from zoo.answers import Classification, Multilabel, Regression, Span, Tagging
from zoo.preprocessing.row import Arrays, Raw

__all__ = ["PredictService", "predict_request", "predict_response"]

_DATATYPES: dict[str, str] = {dtype: datatype for dtype, datatype in codec.DTYPES.items() if dtype != "bytes"}

_PRIORITIES: dict[int, Priority] = {
    pb.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    pb.PRIORITY_HIGH: Priority.HIGH,
    pb.PRIORITY_NORMAL: Priority.NORMAL,
    pb.PRIORITY_LOW: Priority.LOW,
}


class PredictService(predict_pb2_grpc.PredictServiceServicer):
    """Decodes, calls the handler, encodes.

    Args:
        handler: answers.
        clock: the engine's clock, in seconds.
    """

    def __init__(self, handler: PredictHandler, *, clock: Callable[[], float]) -> None:
        self._handler = handler
        self._clock = clock

    async def Predict(self, request: pb.PredictRequest, context: Context) -> pb.PredictResponse:
        """Answer one input with every head that the request names."""
        deadline = deadline_of(context, self._clock)
        decoded = predict_request(request, caller_of(context))
        return predict_response(await self._handler.predict(decoded, deadline=deadline))


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
    choices = tuple(HeadChoice(head=check_name("head", head.name), version=_version(head)) for head in message.heads)
    return PredictRequest(
        raw=_raw(message),
        heads=choices,
        request_id=message.request_id,
        priority=_priority(message.priority),
        routing_key=check_name("routing key", message.routing_key) or caller.routing_key,
        call=caller.context,
    )


def predict_response(response: PredictResponse) -> pb.PredictResponse:
    """Encode the answers."""
    return pb.PredictResponse(
        predictions=map(_prediction, response.predictions),
        request_id=response.request_id,
        server_time_us=response.server_time_us,
    )


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


def _prediction(prediction: Prediction) -> pb.Prediction:
    head, version = prediction.asked.served.head, _model_version(prediction.asked)
    match prediction.answer:
        case Classification() as answer:
            classification = pb.Classification(label=answer.label, scores=_scores(answer.scores))
            return pb.Prediction(head=head, version=version, classification=classification)
        case Multilabel() as answer:
            multilabel = pb.Multilabel(labels=answer.labels, scores=_scores(answer.scores))
            return pb.Prediction(head=head, version=version, multilabel=multilabel)
        case Regression() as answer:
            regression = pb.Regression(value=answer.value, low=answer.low, high=answer.high)
            return pb.Prediction(head=head, version=version, regression=regression)
        case Tagging() as answer:
            tagging = pb.Tagging(spans=map(_span, answer.spans))
            return pb.Prediction(head=head, version=version, tagging=tagging)


def _scores(scores: Mapping[str, float]) -> list[pb.LabelScore]:
    return [pb.LabelScore(label=label, score=score) for label, score in scores.items()]


def _span(span: Span) -> pb.Span:
    return pb.Span(label=span.label, start=span.start, end=span.end, text=span.text, score=span.score)


def _model_version(asked: Asked) -> pb.ModelVersion:
    return pb.ModelVersion(
        number=asked.served.number, digest=asked.served.digest, alias=asked.alias, alias_epoch=asked.epoch
    )
