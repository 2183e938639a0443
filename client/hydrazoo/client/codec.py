"""Arguments to requests, and responses to typed answers."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from hydrazoo.client.answers import (
    Answer,
    Classification,
    Embedding,
    ModelVersion,
    Multilabel,
    Prediction,
    Predictions,
    Regression,
    Segmentation,
    Span,
    Tagging,
)
from hydrazoo.client.errors import InvalidInput, ServerError
from hydrazoo.predict.v1 import predict_pb2 as pb
from numpy.typing import NDArray

__all__ = ["Priority", "decode_predictions", "encode_request", "references"]

Priority = Literal["high", "normal", "low"]
"""A request's place among those of the same teams that wait."""

_PRIORITIES: Final[dict[str, pb.Priority]] = {
    "high": pb.PRIORITY_HIGH,
    "normal": pb.PRIORITY_UNSPECIFIED,  # costs no bytes
    "low": pb.PRIORITY_LOW,
}
_MAX_ROUTING_KEY: Final = 256

_DTYPES: Final = ("float32", "float16", "int64", "int32", "uint8", "bool")


def references(heads: str | Sequence[str]) -> tuple[str, ...]:
    """Return the heads that are asked; a single one may be given as a string.

    >>> references("intent@7")
    ('intent@7',)
    """
    return (heads,) if isinstance(heads, str) else tuple(heads)


def encode_request(
    asked: Sequence[str],
    *,
    text: str | None,
    image: bytes | None,
    tensors: Mapping[str, NDArray[Any]] | None,
    request_id: str,
    priority: Priority = "normal",
    routing_key: str = "",
) -> pb.PredictRequest:
    """Build a request.

    Raises:
        InvalidInput: not exactly one input, no head, or something that the protocol cannot say.
    """
    given = [name for name, value in (("text", text), ("image", image), ("tensors", tensors)) if value is not None]
    if len(given) != 1:
        raise InvalidInput(f"Give exactly one of text, image and tensors; got {' and '.join(given) or 'none'}.")
    if not asked:
        raise InvalidInput('No head is asked; give at least one, such as heads=["intent"].')
    if priority not in _PRIORITIES:
        raise InvalidInput(f"{priority!r} is no priority; expected one of {', '.join(_PRIORITIES)}.")
    if len(routing_key) > _MAX_ROUTING_KEY:
        raise InvalidInput(
            f"The routing key has {len(routing_key):,} characters; at most {_MAX_ROUTING_KEY} are taken."
        )
    request = pb.PredictRequest(
        heads=[_selector(reference) for reference in asked],
        request_id=request_id,
        priority=_PRIORITIES[priority],
        routing_key=routing_key,
    )
    if text is not None:
        _set_text(request, text)
    elif image is not None:
        _set_image(request, image)
    elif tensors is not None:
        request.tensors.tensors.extend(_tensor(name, array) for name, array in tensors.items())
        request.tensors.SetInParent()
    return request


def _set_text(request: pb.PredictRequest, text: str) -> None:
    if not isinstance(text, str):
        raise InvalidInput(f"text is a str; got {type(text).__name__}.")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InvalidInput(f"The text is not Unicode: a lone surrogate at position {error.start}.") from error
    request.text = text


def _set_image(request: pb.PredictRequest, image: bytes) -> None:
    if not isinstance(image, bytes):
        raise InvalidInput(f"image is the bytes of a JPEG or PNG file; got {type(image).__name__}.")
    request.image = image


def _selector(reference: str) -> pb.HeadSelector:
    name, at, version = reference.partition("@")
    if not name or (at and not version):
        raise InvalidInput(f"{reference!r} names no head; expected head, head@number or head@alias.")
    if not version.isdecimal():
        return pb.HeadSelector(name=name, alias=version) if at else pb.HeadSelector(name=name)
    try:
        return pb.HeadSelector(name=name, number=int(version))
    except ValueError as error:
        raise InvalidInput(f"{reference!r} has a version number that is too large.") from error


def _tensor(name: str, array: NDArray[Any]) -> pb.Tensor:
    array = np.asarray(array)
    dtype = array.dtype.name
    if dtype not in _DTYPES:
        raise InvalidInput(f"Tensor {name!r} has the element type {dtype}; expected one of {', '.join(_DTYPES)}.")
    return pb.Tensor(name=name, dtype=dtype, shape=array.shape, data=_little_endian(array).tobytes())


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    order = array.dtype.byteorder
    big = order == ">" or (order == "=" and sys.byteorder == "big")
    return array.astype(array.dtype.newbyteorder("<")) if big else array


def decode_predictions(asked: Sequence[str], response: pb.PredictResponse) -> Predictions:
    """Read a response.

    Raises:
        ServerError: it does not answer what was asked.
    """
    if len(response.predictions) != len(asked):
        raise ServerError(f"The server gave {len(response.predictions)} answers to {len(asked)} heads.")
    return Predictions(
        asked,
        [_prediction(message) for message in response.predictions],
        request_id=response.request_id,
        server_time_ms=response.server_time_us / 1000,
    )


def _prediction(message: pb.Prediction) -> Prediction:
    version = ModelVersion(
        number=message.version.number,
        digest=message.version.digest,
        alias=message.version.alias,
        alias_epoch=message.version.alias_epoch,
    )
    uncertainty = message.uncertainty if message.HasField("uncertainty") else None
    return Prediction(head=message.head, version=version, answer=_answer(message), uncertainty=uncertainty)


def _answer(message: pb.Prediction) -> Answer:
    match message.WhichOneof("answer"):
        case "classification":
            found = message.classification
            return Classification(label=found.label, scores=_scores(found.scores))
        case "multilabel":
            return Multilabel(labels=tuple(message.multilabel.labels), scores=_scores(message.multilabel.scores))
        case "regression":
            number = message.regression
            return Regression(value=number.value, low=number.low, high=number.high)
        case "tagging":
            return Tagging(spans=tuple(map(_span, message.tagging.spans)))
        case "embedding":
            return Embedding(vector=tuple(message.embedding.vector))
        case "segmentation":
            return _segmentation(message.segmentation)
    raise ServerError(
        f"Head {message.head!r} gave a kind of answer that this client does not know; upgrade the client."
    )


def _segmentation(found: pb.Segmentation) -> Segmentation:
    shares = {share.label: share.share for share in found.shares}
    return Segmentation(mask_png=found.mask_png, height=found.height, width=found.width, shares=shares)


def _scores(scores: Sequence[pb.LabelScore]) -> dict[str, float]:
    return {score.label: score.score for score in scores}


def _span(span: pb.Span) -> Span:
    return Span(label=span.label, start=span.start, end=span.end, text=span.text, score=span.score)
