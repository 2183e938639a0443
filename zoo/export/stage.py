"""``export_stage``: a torch module to the three stored forms of a stage, proved to run at any size."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from zoo.digest import digest_bytes
from zoo.errors import ExportFailed
from zoo.export import half, onnx_graph, quantise, torchscript, weights
from zoo.export.declared import DeclaredModule, dynamic_axes, growable_example, resized, tensor_specs
from zoo.export.group import to_group
from zoo.export.sessions import OnnxSession
from zoo.manifest import Artifact, Format, StageManifest, VariantFormat, graph_output_names

__all__ = ["ExportedStage", "export_path", "export_stage"]

CLOSE = 1e-3
"""How far a check run may be from torch; it finds frozen sizes. How close an export is, parity measures."""

_CONVERTERS: Mapping[VariantFormat, tuple[Callable[[bytes], bytes | None], Callable[[], str]]] = {
    "onnx-int8": (quantise.to_int8, quantise.made_by),
    "onnx-fp16": (half.to_half, half.made_by),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedStage:
    """A stage as the zoo stores it: its manifest, and the bytes that the manifest names, by digest."""

    manifest: StageManifest
    blobs: Mapping[str, bytes]

    def artifact(self, form: Format) -> bytes:
        """Return the stage's bytes in one format."""
        return self.blobs[self.manifest.artifacts[form].blob]


def export_stage(
    stage: DeclaredModule,
    *,
    example: Mapping[str, Tensor],
    variants: Sequence[VariantFormat] = (),
    grouped: bool = False,
) -> ExportedStage:
    """Export a stage to ONNX, TorchScript and safetensors.

    Args:
        stage: an ``nn.Module`` in eval mode, on the CPU.
        example: named tensors, its inputs among them, of any size but 0.
        variants: forms in another precision to store too; one in which nothing of it would differ is left out.
        grouped: store a form for several heads of this architecture at once too, if it is small and there can be one.

    Raises:
        ExportFailed: it is in training mode or not on the CPU, cannot be traced, or its exports do not give its
            answers at batch 1 and length 1 or at sizes that the trace has not seen.
    """
    _check_ready(stage)
    traced = growable_example(stage, example)
    outputs = graph_output_names([each.name for each in stage.inputs], [each.name for each in stage.outputs])
    forms: dict[Format, tuple[bytes, str]] = {
        "onnx": (onnx_graph.to_onnx(stage, traced, outputs), onnx_graph.made_by()),
        "torchscript": (torchscript.to_torchscript(stage, traced), torchscript.made_by()),
        "safetensors": (weights.to_safetensors(stage), weights.made_by()),
    }
    _check_sizes(stage, traced, onnx=forms["onnx"][0], script=forms["torchscript"][0])
    for form in variants:
        if data := _converted(stage, traced, form, forms["onnx"][0]):
            forms[form] = (data, _CONVERTERS[form][1]())
    if grouped and (data := to_group(stage, example)):
        forms["onnx-group"] = (data, f"{onnx_graph.made_by()} vmap")
    artifacts = {
        form: Artifact(blob=digest_bytes(data), size_bytes=len(data), made_by=tool)
        for form, (data, tool) in forms.items()
    }
    manifest = StageManifest(
        name=stage.name,
        architecture=stage.architecture,
        inputs=tensor_specs(stage.inputs),
        outputs=tensor_specs(stage.outputs),
        weights=artifacts["safetensors"].blob,
        parameters=weights.count_parameters(stage),
        artifacts=artifacts,
    )
    return ExportedStage(manifest=manifest, blobs={artifacts[form].blob: data for form, (data, _) in forms.items()})


def export_path(stages: Sequence[DeclaredModule], *, example: Mapping[str, Tensor]) -> Iterator[ExportedStage]:
    """Export stages one after the other, each on what the ones before it make of ``example``.

    Args:
        stages: from input on.
        example: named inputs of the path.

    Raises:
        ExportFailed: as ``export_stage`` does.
    """
    known = dict(example)
    for stage in stages:
        yield export_stage(stage, example=known)
        with torch.no_grad():
            results = stage(*(known[declared.name] for declared in stage.inputs))
        known.update(zip((declared.name for declared in stage.outputs), results, strict=True))


def _check_ready(stage: DeclaredModule) -> None:
    assert isinstance(stage, nn.Module)
    training = [name or stage.name for name, part in stage.named_modules() if part.training]
    if training:
        raise ExportFailed(
            f"Stage '{stage.name}' is in training mode ({training[0]}), so its export would drop out values at "
            "random; call .eval() on it first."
        )
    elsewhere = {str(tensor.device) for tensor in stage.state_dict().values()} - {"cpu"}
    if elsewhere:
        raise ExportFailed(
            f"Stage '{stage.name}' has weights on {', '.join(sorted(elsewhere))}; expected all on the CPU, where "
            "exports are made. Move it with .cpu() first; exports run on any device."
        )


def _check_sizes(stage: DeclaredModule, traced: Sequence[Tensor], *, onnx: bytes, script: bytes) -> None:
    """Run both exports at sizes that an exporter may have frozen, and compare with torch."""
    session, module = OnnxSession(onnx), torchscript.load_torchscript(script)
    for sizes in _telling_sizes(stage, traced):
        tensors = [resized(tensor, each, sizes) for each, tensor in zip(stage.inputs, traced, strict=True)]
        arrays = {each.name: tensor.numpy() for each, tensor in zip(stage.inputs, tensors, strict=True)}
        with torch.no_grad():
            expected = [tensor.numpy() for tensor in stage(*tensors)]
            try:
                found = {"onnx": session(arrays), "torchscript": [each.numpy() for each in module(*tensors)]}
            except Exception as error:  # each runtime raises its own
                raise ExportFailed(
                    f"Stage '{stage.name}' exported, but does not run at sizes {sizes}: {error}\n"
                    "A size or a comparison of sizes in its forward became a constant."
                ) from error
        for form, results in found.items():
            for declared, right, result in zip(stage.outputs, expected, results, strict=True):
                if result.shape != right.shape or not np.allclose(result, right, rtol=CLOSE, atol=CLOSE):
                    raise ExportFailed(
                        f"Stage '{stage.name}' exported to {form} gives another {declared.name} than torch at sizes "
                        f"{sizes}; expected at most {CLOSE} apart. Something in its forward depends on the example."
                    )


def _converted(stage: DeclaredModule, traced: Sequence[Tensor], form: VariantFormat, onnx: bytes) -> bytes | None:
    """Return a stage in another precision, and run it; how far its answers are from torch's, its heads measure."""
    try:
        data = _CONVERTERS[form][0](onnx)
        if data:
            _check_numbers(stage, traced, half.watched(data) if form == "onnx-fp16" else data)
    except Exception as error:  # the converters and ONNX Runtime raise what their parts raise
        raise ExportFailed(
            f"Stage '{stage.name}' could not be had as {form}: {error}\nAdd it without that precision."
        ) from error
    return data


def _check_numbers(stage: DeclaredModule, traced: Sequence[Tensor], data: bytes) -> None:
    session = OnnxSession(data)
    for sizes in _telling_sizes(stage, traced):
        tensors = [resized(tensor, each, sizes) for each, tensor in zip(stage.inputs, traced, strict=True)]
        found = session({each.name: tensor.numpy() for each, tensor in zip(stage.inputs, tensors, strict=True)})
        if not all(np.isfinite(values).all() for values in found if values.dtype.kind == "f"):
            raise ExportFailed(f"at sizes {sizes} there is a NaN or an infinity in it, where float32 has none.")


def _telling_sizes(stage: DeclaredModule, traced: Sequence[Tensor]) -> list[dict[str, int]]:
    seen = {
        name: tensor.shape[axis]
        for declared, tensor in zip(stage.inputs, traced, strict=True)
        for axis, name in dynamic_axes(declared).items()
    }
    return [dict.fromkeys(seen, 1), {name: 2 * size + 1 for name, size in seen.items()}]
