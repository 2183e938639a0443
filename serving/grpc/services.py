"""Everything that the server answers, put on one gRPC server."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import cast

import grpc
from google.protobuf.descriptor import FileDescriptor
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2_grpc
from hydrazoo.inference import open_inference_pb2, open_inference_pb2_grpc
from hydrazoo.predict.v1 import predict_pb2, predict_pb2_grpc
from hydrazoo.registry.v1 import registry_pb2, registry_pb2_grpc

from serving.grpc.fallback import Fallback
from serving.grpc.guard import Table
from serving.grpc.inference import InferenceService
from serving.grpc.predict import PredictService
from serving.grpc.registry import RegistryService
from serving.handlers import InferenceHandler, ModelsHandler, PredictHandler, RegistryHandler

__all__ = ["SERVICES", "TOLERANT", "Services", "add_services"]

_FILES: tuple[FileDescriptor, ...] = (
    open_inference_pb2.DESCRIPTOR,
    predict_pb2.DESCRIPTOR,
    registry_pb2.DESCRIPTOR,
)

SERVICES: tuple[str, ...] = tuple(service.full_name for file in _FILES for service in file.services_by_name.values())
"""Full names of our services; each has a health of its own."""

TOLERANT = frozenset({"/inference.GRPCInferenceService/ModelStreamInfer"})
"""Rpcs whose streams live on after a message that does not parse."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """The handlers behind the services."""

    inference: InferenceHandler
    models: ModelsHandler
    predict: PredictHandler
    registry: RegistryHandler
    max_request_rows: int
    clock: Callable[[], float] = time.monotonic


def add_services(server: grpc.aio.Server, services: Services) -> health.aio.HealthServicer:
    """Put the services, health, reflection and the fallback on a server that has not started.

    Returns:
        The health service; every status is unknown to it until it is set.
    """
    table = Table(TOLERANT, Fallback(_methods()))
    adds = cast("grpc.aio.Server", table)
    inference = InferenceService(
        services.inference, services.models, max_rows=services.max_request_rows, clock=services.clock
    )
    open_inference_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(inference, adds)
    predict = PredictService(services.predict, clock=services.clock)
    predict_pb2_grpc.add_PredictServiceServicer_to_server(predict, adds)
    registry_pb2_grpc.add_RegistryServiceServicer_to_server(RegistryService(services.registry), adds)
    status = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(status, adds)
    names = (*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.aio.ReflectionServicer(names), adds)
    server.add_generic_rpc_handlers((table,))
    return status


def _methods() -> Iterator[str]:
    for file in _FILES:
        for service in file.services_by_name.values():
            yield from (f"/{service.full_name}/{method.name}" for method in service.methods)
