"""Manifests: the immutable, schema-versioned JSON documents that say what a stage, a backbone and a version are.

A version is a path of stages from input to answer, plus everything that made it: preprocessing,
labels, code, environment, recipe, metrics and parity. Manifests are values: frozen, compared by
content and named by the digest of their canonical JSON. Unknown keys are errors.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from zoo.answer_forms import (
    Answer,
    ClassifyAnswer,
    EmbedAnswer,
    MultilabelAnswer,
    RegressAnswer,
    SegmentAnswer,
    TagAnswer,
)
from zoo.digest import Digest, digest_json, path_digest
from zoo.record import Record

__all__ = [
    "LOWER_IS_BETTER",
    "Answer",
    "Artifact",
    "BackboneManifest",
    "ClassifyAnswer",
    "DType",
    "EmbedAnswer",
    "Format",
    "GateResult",
    "ImagePreprocessing",
    "LabelsCommit",
    "Metrics",
    "MultilabelAnswer",
    "Name",
    "Parity",
    "Preprocessing",
    "RegressAnswer",
    "SegmentAnswer",
    "Signature",
    "SliceMetrics",
    "StageManifest",
    "StageRef",
    "TagAnswer",
    "TensorPreprocessing",
    "TensorSpec",
    "TextPreprocessing",
    "VariantFormat",
    "VersionManifest",
    "graph_output_names",
]

Name = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]
"""A head, team, backbone or alias: lower case, digits, '-' and '_', at most 63 characters."""

DType = Literal["float32", "float16", "int64", "int32", "uint8", "bool", "bytes"]
"""An element type; ``bytes`` is a variable-length string, as a client sends text or an encoded image."""

Format = Literal["onnx", "torchscript", "safetensors", "onnx-int8", "onnx-fp16", "onnx-group"]
"""What a stage is stored as. ``safetensors`` holds weights alone; the others can be run.

``onnx-int8`` and ``onnx-fp16`` are the network in another precision, with float32 inputs and outputs. ``onnx-group``
is a graph without weights, equal for all heads of one architecture, that runs several of them at once: it takes the
stage's inputs, and each tensor of ``safetensors`` as ``weight:<its name>`` with a leading axis of heads, H; its
outputs, named as in ``graph_outputs``, have that axis too.
"""

VariantFormat = Literal["onnx-int8", "onnx-fp16"]
"""The forms that a version may be served in instead of fp32, each by its own parity and its own metrics."""


class TensorSpec(Record):
    """A named tensor: its element type, and its axes in order.

    An axis is a fixed size or the name of a dynamic axis. The first axis is ``"N"``, the rows.
    """

    name: str
    dtype: DType
    shape: tuple[int | str, ...]

    @model_validator(mode="after")
    def _rows_come_first(self) -> Self:
        if not self.shape or self.shape[0] != "N":
            raise ValueError(f"the first axis of {self.name!r} must be 'N' (rows); got shape {self.shape}")
        return self


class Artifact(Record):
    """One stored form of a stage: the digest and the size of its bytes, and how it was made."""

    blob: Digest
    size_bytes: int = Field(ge=0)
    made_by: str = Field(description="tool and settings, e.g. 'torch 2.15.0 onnx opset 18'")


def graph_output_names(inputs: Sequence[str], outputs: Sequence[str]) -> tuple[str, ...]:
    """Return what a stage's declared outputs are called in its ONNX graph.

    A value in a graph has one name, so an output that replaces an input is called ``<name>_out`` there.

    >>> graph_output_names(["tokens_NTD", "mask_NT"], ["tokens_NTD", "scores_NC"])
    ('tokens_NTD_out', 'scores_NC')
    """
    return tuple(f"{name}_out" if name in inputs else name for name in outputs)


class StageManifest(Record):
    """A piece of network with named, typed inputs and outputs; stored, loaded and run as a unit.

    A stage reads its inputs by name from the tensors computed so far on its path and adds its
    outputs to them; an output replaces an earlier tensor of the same name.
    """

    schema_: Literal["hydrazoo.stage/1"] = Field(default="hydrazoo.stage/1", alias="schema")
    name: str
    architecture: dict[str, Any]
    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)
    weights: Digest
    parameters: int = Field(ge=0)
    artifacts: dict[Format, Artifact]

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @property
    def graph_outputs(self) -> tuple[str, ...]:
        """What the outputs are called in the ONNX graph, in declared order; see ``graph_output_names``."""
        return graph_output_names([spec.name for spec in self.inputs], [spec.name for spec in self.outputs])

    @property
    def digest(self) -> str:
        """The stage's identity: the digest of its architecture, declared tensors and weights.

        The name and the exported forms are not part of it: the same network exported twice is one stage.
        """
        return digest_json(
            {
                "architecture": self.architecture,
                "inputs": [spec.model_dump(mode="json") for spec in self.inputs],
                "outputs": [spec.model_dump(mode="json") for spec in self.outputs],
                "weights": self.weights,
            }
        )


class StageRef(Record):
    """A stage as a path lists it: its identity, and the manifest that pins its exported bytes."""

    name: str
    digest: Digest
    manifest: Digest


class TextPreprocessing(Record):
    """Text to token ids, by a tokenizer stored in the zoo.

    Gives ``ids_NT`` and ``mask_NT`` (int64; 1 where there is a token). A text of more than
    ``max_tokens`` tokens, special tokens included, is an error and never cut.
    """

    kind: Literal["text"] = "text"
    tokenizer: Digest = Field(description="blob of a tokenizers JSON file, its own padding and truncation ignored")
    max_tokens: int = Field(gt=0)
    pad_id: int = Field(ge=0)


class ImagePreprocessing(Record):
    """An encoded image to ``images_NCHW`` (float32): RGB, shorter side resized, centre crop, normalised."""

    kind: Literal["image"] = "image"
    height: int = Field(gt=0)
    width: int = Field(gt=0)
    resize_shorter: int = Field(gt=0, description="pixels of the shorter side before the crop")
    interpolation: Literal["bilinear", "bicubic", "nearest"]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]


class TensorPreprocessing(Record):
    """Ready tensors: checked against their declaration and otherwise left alone."""

    kind: Literal["tensor"] = "tensor"
    tensors: tuple[TensorSpec, ...] = Field(min_length=1)


Preprocessing = Annotated[TextPreprocessing | ImagePreprocessing | TensorPreprocessing, Field(discriminator="kind")]


class Signature(Record):
    """What a client sends and what comes back, as tensors."""

    inputs: tuple[TensorSpec, ...] = Field(min_length=1)
    outputs: tuple[TensorSpec, ...] = Field(min_length=1)


class LabelsCommit(Record):
    """Which labels made a version: the digest of the file, and the git commit that holds it if it was clean."""

    digest: Digest
    commit: str | None = Field(description="git commit whose tree holds exactly these bytes; null if none does")
    examples: dict[str, int] = Field(description="examples per split")


class SliceMetrics(Record):
    """Metrics over one named subset of a split."""

    examples: int = Field(ge=0)
    values: dict[str, float]


class Metrics(Record):
    """Metrics on the test split: over all of it, and per slice."""

    overall: SliceMetrics
    slices: dict[str, SliceMetrics]


LOWER_IS_BETTER = frozenset({"mae", "mse", "rmse", "ece", "nll"})
"""Metrics that measure an error, of answers or of how sure they are: a gate's bound is the highest allowed value."""


class GateResult(Record):
    """The bounds that a version had to reach, and what it reached.

    A key is a metric, ``"macro_f1"``, or a slice and a metric, ``"negation/macro_f1"``. A bound is the
    lowest allowed value, and the highest for the metrics in ``LOWER_IS_BETTER``.
    """

    bounds: dict[str, float]
    reached: dict[str, float]

    def missed(self) -> tuple[str, ...]:
        """Return the keys whose bound is not reached, or not measured at all, in order.

        >>> GateResult(bounds={"macro_f1": 0.8, "mae": 1.0}, reached={"macro_f1": 0.9, "mae": 1.5}).missed()
        ('mae',)
        """
        return tuple(key for key in self.bounds if not self._reaches(key))

    def _reaches(self, key: str) -> bool:
        if key not in self.reached:
            return False
        if key.rpartition("/")[2] in LOWER_IS_BETTER:
            return self.reached[key] <= self.bounds[key]
        return self.reached[key] >= self.bounds[key]


class Parity(Record):
    """How close one exported format is to the torch model, measured on real and on edge inputs."""

    rows: int = Field(gt=0)
    batch_sizes: tuple[int, ...]
    max_abs_diff: float = Field(ge=0)
    equal_answers: float = Field(ge=0, le=1, description="share of rows whose typed answer is the same")
    tolerance: float = Field(gt=0, description="largest max_abs_diff that may be published")


class BackboneManifest(Record):
    """A shared backbone: its stages in order, and the preprocessing that feeds the first of them."""

    schema_: Literal["hydrazoo.backbone/1"] = Field(default="hydrazoo.backbone/1", alias="schema")
    name: Name
    source: str = Field(description="what it was added from, e.g. 'minilm' or 'hf:bert-base-uncased'")
    source_digest: Digest = Field(description="digest of the configuration and weights it was cut from, and of the cut")
    stages: tuple[StageRef, ...] = Field(min_length=1)
    preprocessing: Preprocessing
    environment: dict[str, str]
    build_key: Digest | None = Field(
        default=None, description="digest of all that went in; equal key, nothing to do; null if that is not only files"
    )

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class VersionManifest(Record):
    """One immutable version of a head: the path that answers, and everything that made it."""

    schema_: Literal["hydrazoo.version/1"] = Field(default="hydrazoo.version/1", alias="schema")
    head: Name
    team: Name
    backbone: Digest = Field(description="content digest of the backbone manifest")
    stages: tuple[StageRef, ...] = Field(min_length=1)
    shared_stages: int = Field(ge=0, description="how many leading stages belong to the backbone")
    preprocessing: Preprocessing
    signature: Signature
    answer: Answer
    labels: LabelsCommit
    code: Digest = Field(description="fingerprint of the source that built it")
    environment: dict[str, str]
    recipe: dict[str, Any]
    build_key: Digest = Field(description="digest of everything that went in; equal key, nothing to rebuild")
    metrics: Metrics
    gate: GateResult
    parity: dict[Format, Parity] = Field(description="of the whole path, in each form that was measured")
    variants: dict[Format, Metrics] = Field(
        default_factory=dict, description="metrics on the test split of each precision that may be served instead"
    )
    parents: tuple[Digest, ...] = ()
    created_by: str
    created_at: datetime

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    @model_serializer(mode="wrap")
    def _without_empty_variants(self, encode: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave ``variants`` out where there is none: manifests from before there were any keep their digest."""
        encoded: dict[str, Any] = encode(self)
        if not encoded["variants"]:
            del encoded["variants"]
        return encoded

    @property
    def digest(self) -> str:
        """The version's identity: the digest of its canonical JSON."""
        return self.content_digest()

    @property
    def path(self) -> str:
        """The digest of its whole path of stages."""
        return path_digest(stage.digest for stage in self.stages)
