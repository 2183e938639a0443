"""The service of the Open Inference Protocol, as Triton's clients speak it."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from importlib.metadata import version

from hydrazoo.inference import open_inference_pb2 as pb
from hydrazoo.inference import open_inference_pb2_grpc

from serving.errors import InvalidRequest
from serving.grpc import model_messages
from serving.grpc.caller import Caller, caller_of
from serving.grpc.guard import Context, Malformed
from serving.grpc.inference_messages import infer_request, timeout_s, write_infer_response
from serving.grpc.ordered import in_order
from serving.grpc.status import refusal
from serving.grpc.timing import deadline_of
from serving.handlers import InferenceHandler, ModelsHandler

__all__ = ["EXTENSIONS", "InferenceService"]

EXTENSIONS = ("model_configuration", "model_repository(index)", "parameters", "statistics")
"""What the server does beyond the bare protocol, in the words of the protocol's extensions."""

STREAM_WINDOW = 64
"""Requests of one stream in flight; a caller that sends more is slowed down by its connection."""

ERROR_CODE_PARAMETER = "error_code"


class InferenceService(open_inference_pb2_grpc.GRPCInferenceServiceServicer):
    """Decodes, calls a handler, encodes.

    Args:
        inference: answers tensors.
        models: describes and counts what is loaded.
        max_rows: how many rows one request may hold.
        clock: the engine's clock, in seconds.
    """

    def __init__(
        self, inference: InferenceHandler, models: ModelsHandler, *, max_rows: int, clock: Callable[[], float]
    ) -> None:
        self._inference = inference
        self._models = models
        self._max_rows = max_rows
        self._clock = clock

    async def ServerLive(self, request: pb.ServerLiveRequest, context: Context) -> pb.ServerLiveResponse:
        """Say that the process runs."""
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(self, request: pb.ServerReadyRequest, context: Context) -> pb.ServerReadyResponse:
        """Say whether the server takes requests."""
        return pb.ServerReadyResponse(ready=self._models.is_ready)

    async def ModelReady(self, request: pb.ModelReadyRequest, context: Context) -> pb.ModelReadyResponse:
        """Say whether a model takes requests."""
        return pb.ModelReadyResponse(ready=self._models.is_model_ready(request.name, request.version))

    async def ServerMetadata(self, request: pb.ServerMetadataRequest, context: Context) -> pb.ServerMetadataResponse:
        """Name the server and its release."""
        return pb.ServerMetadataResponse(name="hydrazoo", version=version("hydrazoo-platform"), extensions=EXTENSIONS)

    async def ModelMetadata(self, request: pb.ModelMetadataRequest, context: Context) -> pb.ModelMetadataResponse:
        """Describe a model's tensors."""
        return model_messages.metadata(self._models.describe(request.name, request.version))

    async def ModelConfig(self, request: pb.ModelConfigRequest, context: Context) -> pb.ModelConfigResponse:
        """Describe a model as Triton's configuration does."""
        return pb.ModelConfigResponse(
            config=model_messages.config(self._models.describe(request.name, request.version))
        )

    async def ModelStatistics(self, request: pb.ModelStatisticsRequest, context: Context) -> pb.ModelStatisticsResponse:
        """Count what models have done."""
        counted = await self._models.count(request.name, request.version)
        return pb.ModelStatisticsResponse(model_stats=map(model_messages.statistics, counted))

    async def RepositoryIndex(self, request: pb.RepositoryIndexRequest, context: Context) -> pb.RepositoryIndexResponse:
        """List what is loaded."""
        listed = self._models.index(ready_only=request.ready)
        return pb.RepositoryIndexResponse(models=map(model_messages.listed, listed))

    async def ModelInfer(self, request: pb.ModelInferRequest, context: Context) -> pb.ModelInferResponse:
        """Answer one request."""
        response = pb.ModelInferResponse()
        await self._infer(request, response, caller_of(context), context)
        return response

    async def ModelStreamInfer(
        self, requests: AsyncIterator[pb.ModelInferRequest | Malformed], context: Context
    ) -> AsyncIterator[pb.ModelStreamInferResponse]:
        """Answer a stream of requests in their order; a bad one is answered with its error, and the stream goes on."""
        caller = caller_of(context)

        async def answer(request: pb.ModelInferRequest | Malformed) -> pb.ModelStreamInferResponse:
            if isinstance(request, Malformed):
                return _refused(request.error, "")
            response = pb.ModelStreamInferResponse()
            try:
                await self._infer(request, response.infer_response, caller, context)
            except Exception as error:
                return _refused(error, request.id)
            return response

        async with aclosing(in_order(requests, answer, window=STREAM_WINDOW)) as answers:
            async for response in answers:
                yield response

    async def _infer(
        self, request: pb.ModelInferRequest, response: pb.ModelInferResponse, caller: Caller, context: Context
    ) -> None:
        try:
            decoded = infer_request(request, caller, max_rows=self._max_rows)
        except InvalidRequest as error:
            self._inference.refuse(
                error,
                model=request.model_name,
                version=request.model_version,
                request_id=request.id,
                call=caller.context,
            )
            raise
        deadline = deadline_of(context, self._clock, at_most_s=timeout_s(request))
        write_infer_response(response, request, await self._inference.infer(decoded, deadline=deadline))


def _refused(error: Exception, request_id: str) -> pb.ModelStreamInferResponse:
    ended = refusal(error)
    response = pb.ModelStreamInferResponse(error_message=ended.message, infer_response={"id": request_id})
    response.infer_response.parameters[ERROR_CODE_PARAMETER].string_param = ended.code
    return response
