"""The client of a Hydrazoo server: one input, several heads, one call, typed answers.

``Client`` and ``AsyncClient`` ask, and their ``stream`` opens a ``Stream`` or ``AsyncStream`` for many requests.
``Predictions`` holds a ``Prediction`` per head, each with its typed answer and the immutable version that gave it.
Everything that can go wrong is a ``HydrazooError``; ``hydrazoo.client.errors`` has the tree. Needs grpcio, protobuf and
numpy only.
"""

from hydrazoo.client.aio import AsyncClient
from hydrazoo.client.aio_stream import AsyncStream
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
from hydrazoo.client.errors import HydrazooError
from hydrazoo.client.registry import Alias, Head, Promotion, Resolved, Version
from hydrazoo.client.sync import Client
from hydrazoo.client.sync_stream import Stream
from hydrazoo.client.version import __version__

__all__ = [
    "Alias",
    "Answer",
    "AsyncClient",
    "AsyncStream",
    "Classification",
    "Client",
    "Embedding",
    "Head",
    "HydrazooError",
    "ModelVersion",
    "Multilabel",
    "Prediction",
    "Predictions",
    "Promotion",
    "Regression",
    "Resolved",
    "Segmentation",
    "Span",
    "Stream",
    "Tagging",
    "Version",
    "__version__",
]
