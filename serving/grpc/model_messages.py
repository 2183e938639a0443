"""What is loaded, in messages of the Open Inference Protocol."""

from hydrazoo.inference import open_inference_pb2 as pb

from serving.handlers.models import Counted, Described, Listed, TensorDescription
from serving.statistics import BatchStatistics, Duration, VersionStatistics

__all__ = ["config", "listed", "metadata", "statistics"]


def metadata(model: Described) -> pb.ModelMetadataResponse:
    """Describe a model's tensors."""
    return pb.ModelMetadataResponse(
        name=model.name,
        versions=map(str, model.versions),
        platform=model.platform,
        inputs=map(_tensor, model.inputs),
        outputs=map(_tensor, model.outputs),
    )


def config(model: Described) -> pb.ModelConfig:
    """Describe a model as Triton's configuration does: axes without the rows, which ``max_batch_size`` bounds."""
    on_gpu, _, index = model.device.partition(":")
    return pb.ModelConfig(
        name=model.name,
        platform=model.platform,
        backend="hydrazoo",
        version_policy={"specific": {"versions": model.versions}},
        max_batch_size=model.max_rows,
        input=[
            *(_input(tensor, optional=bool(model.ready_inputs)) for tensor in model.inputs),
            *(_input(tensor, optional=True) for tensor in model.ready_inputs),
        ],
        output=[
            pb.ModelOutput(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[1:])
            for tensor in model.outputs
        ],
        instance_group=[
            pb.ModelInstanceGroup(
                name="device",
                count=1,
                kind=pb.ModelInstanceGroup.KIND_GPU if on_gpu == "cuda" else pb.ModelInstanceGroup.KIND_CPU,
                gpus=[int(index)] if on_gpu == "cuda" and index else [],
            )
        ],
        dynamic_batching={},
        parameters={name: pb.ModelParameter(string_value=value) for name, value in model.parameters.items()},
        model_transaction_policy={"decoupled": False},
    )


def statistics(counted: Counted) -> pb.ModelStatistics:
    """Say what one version has done."""
    done = counted.statistics
    return pb.ModelStatistics(
        name=counted.served.head,
        version=str(counted.served.number),
        last_inference=done.last_inference_ms,
        inference_count=done.rows,
        execution_count=done.batches,
        inference_stats=_where_time_went(done),
        batch_stats=[_batch(rows, batch) for rows, batch in sorted(done.by_batch_rows.items())],
    )


def listed(entry: Listed) -> pb.RepositoryIndexResponse.ModelIndex:
    """List one version."""
    return pb.RepositoryIndexResponse.ModelIndex(
        name=entry.served.head,
        version=str(entry.served.number),
        state="READY" if entry.ready else "UNAVAILABLE",
        reason="" if entry.ready else "the server is stopping",
    )


def _tensor(tensor: TensorDescription) -> pb.ModelMetadataResponse.TensorMetadata:
    return pb.ModelMetadataResponse.TensorMetadata(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)


def _input(tensor: TensorDescription, *, optional: bool) -> pb.ModelInput:
    return pb.ModelInput(name=tensor.name, data_type=_data_type(tensor), dims=tensor.shape[1:], optional=optional)


def _data_type(tensor: TensorDescription) -> str:
    return "TYPE_STRING" if tensor.datatype == "BYTES" else f"TYPE_{tensor.datatype}"


def _where_time_went(done: VersionStatistics) -> pb.InferStatistics:
    return pb.InferStatistics(
        success=_duration(done.success),
        fail=_duration(done.fail),
        queue=_duration(done.queue),
        compute_input=_duration(done.compute_input),
        compute_infer=_duration(done.compute_infer),
        compute_output=_duration(done.compute_output),
        cache_hit=_duration(done.cache_hit),
        cache_miss=_duration(done.cache_miss),
    )


def _batch(rows: int, batch: BatchStatistics) -> pb.InferBatchStatistics:
    return pb.InferBatchStatistics(
        batch_size=rows,
        compute_input=_duration(batch.compute_input),
        compute_infer=_duration(batch.compute_infer),
        compute_output=_duration(batch.compute_output),
    )


def _duration(duration: Duration) -> pb.StatisticDuration:
    return pb.StatisticDuration(count=duration.count, ns=duration.total_ns)
