"""What the server does, in words of no particular wire: the gRPC services decode, call a handler and encode.

``InferenceHandler`` answers tensors with tensors, ``ModelsHandler`` describes and counts what is loaded,
``PredictHandler`` gives typed answers and ``RegistryHandler`` reads the zoo. All share one ``Asker`` (the way to the
engine), one ``Admission`` (which closes when the server drains) and one ``AccessLog``.
"""

from serving.handlers.access import AccessLog
from serving.handlers.admission import Admission
from serving.handlers.asking import Asker
from serving.handlers.inference import InferenceHandler
from serving.handlers.models import ModelsHandler
from serving.handlers.predict import PredictHandler
from serving.handlers.registry import RegistryHandler

__all__ = [
    "AccessLog",
    "Admission",
    "Asker",
    "InferenceHandler",
    "ModelsHandler",
    "PredictHandler",
    "RegistryHandler",
]
