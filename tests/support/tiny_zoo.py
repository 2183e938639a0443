"""A real zoo in a folder, made in a moment and without torch: four heads on a text body of two stages.

``intent`` (classify), ``topics`` (multilabel) and ``urgency`` (regress) sit on the whole body; ``pii`` (tag) shares
the first stage and has a private second one. Every network is written twice, as ONNX nodes and in numpy, so that
``TinyZoo.expected`` can say what a served answer must be. Padding changes no answer. Digits are tokens of their
own, so ``"order 4711"`` and ``"order 4712"`` are different inputs.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.normalizers import Lowercase
from tokenizers.pre_tokenizers import Digits, Punctuation, Whitespace
from tokenizers.pre_tokenizers import Sequence as InTurn
from tokenizers.processors import TemplateProcessing

from tests.support.provenance import provenance
from zoo import Backbone, Version, Zoo
from zoo.digest import digest_bytes
from zoo.manifest import (
    Answer,
    Artifact,
    BackboneManifest,
    ClassifyAnswer,
    EmbedAnswer,
    MultilabelAnswer,
    RegressAnswer,
    SegmentAnswer,
    Signature,
    StageManifest,
    StageRef,
    TagAnswer,
    TensorSpec,
    TextPreprocessing,
    VersionManifest,
    graph_output_names,
)
from zoo.preprocessing import Row, load_preprocessor

WIDTH = 8
MAX_TOKENS = 64
IDS = TensorSpec(name="ids_NT", dtype="int64", shape=("N", "T"))
MASK = TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T"))
TOKENS = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH))
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
COMMON = """
    0 1 2 3 4 5 6 7 8 9 . , ! ? @ - i you my the a is was not it please hello thanks refund order parcel invoice card
    broken late never angry love ada bob mail address street help account password want
"""
WORDS = [*SPECIAL, *COMMON.split()]

ANSWERS: dict[str, Answer] = {
    "intent": ClassifyAnswer(labels=("refund", "greeting", "complaint")),
    "topics": MultilabelAnswer(labels=("billing", "delivery"), thresholds=(0.5, 0.4)),
    "urgency": RegressAnswer(low=0.0, high=10.0),
    "pii": TagAnswer(labels=("person", "address")),
}

Values = dict[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class Network:
    """One stage, twice: its ONNX nodes and weights, and the same in numpy."""

    name: str
    inputs: tuple[TensorSpec, ...]
    output: TensorSpec
    nodes: Sequence[onnx.NodeProto]
    weights: Mapping[str, NDArray[Any]]
    compute: Callable[[Values], NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class TinyZoo:
    """The zoo's folder, its body, and the networks of every version."""

    folder: Path
    body: Backbone
    paths: dict[str, tuple[Network, ...]]
    """By version digest."""

    def row(self, text: str) -> Row:
        """Preprocess ``text`` as the server does."""
        return load_preprocessor(self.body.manifest.preprocessing, lambda _: tokenizer_json())(text)

    def expected(self, version_digest: str, text: str) -> NDArray[Any]:
        """Return the output, without the N axis, that this version must give for ``text``."""
        known: Values = {name: array[None] for name, array in self.row(text).tensors.items()}
        for network in self.paths[version_digest]:
            known[network.output.name] = network.compute(known)
        output: NDArray[Any] = known[self.paths[version_digest][-1].output.name][0]
        return output

    def publish(self, zoo: Zoo, head: str, *, seed: int = 0, promote_to: Sequence[str] = ("prod",)) -> Version:
        """Publish a version of one of the four heads; another ``seed`` gives it other weights."""
        path = path_of(head, seed)
        manifest = VersionManifest(
            backbone=self.body.digest,
            stages=tuple(add_network(zoo, network) for network in path),
            shared_stages=1 if head == "pii" else 2,
            preprocessing=self.body.manifest.preprocessing,
            signature=Signature(inputs=(IDS, MASK), outputs=(path[-1].output,)),
            answer=ANSWERS[head],
            **provenance(head, str(seed)),
        )
        version = zoo.publish(manifest, promote_to=promote_to, reason="for a test")
        self.paths[version.digest] = path
        return version


def make_tiny_zoo(folder: Path, heads: Sequence[str] = tuple(ANSWERS)) -> TinyZoo:
    """Make a zoo in ``folder`` with version 1 of each of ``heads`` under ``prod``."""
    with Zoo.open(folder, create=True) as zoo:
        refs = tuple(add_network(zoo, network) for network in BODY)
        body = zoo.add_backbone(
            BackboneManifest(
                name="tiny",
                source="tiny",
                source_digest=digest_bytes(b"tiny"),
                stages=refs,
                preprocessing=TextPreprocessing(
                    tokenizer=zoo.blobs.put(tokenizer_json()), max_tokens=MAX_TOKENS, pad_id=0
                ),
                environment={},
            )
        )
        tiny = TinyZoo(folder=folder, body=body, paths={})
        for head in heads:
            tiny.publish(zoo, head)
    return tiny


def tokenizer_json() -> bytes:
    """Return a word-level tokenizer that lower-cases, and puts [CLS] and [SEP] around a text."""
    tokenizer = Tokenizer(WordLevel({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.normalizer = Lowercase()
    tokenizer.pre_tokenizer = InTurn([Whitespace(), Punctuation(), Digits(individual_digits=True)])
    tokenizer.post_processor = TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", WORDS.index("[CLS]")), ("[SEP]", WORDS.index("[SEP]"))]
    )
    encoded: str = tokenizer.to_str()
    return encoded.encode()


def add_network(zoo: Zoo, network: Network, **other_forms: bytes) -> StageRef:
    """Store a network's ONNX file, and its other forms, and add it as a stage; one that is there is left as it is."""
    forms = {"onnx": onnx_bytes(network), **other_forms}
    weights = b"".join(array.tobytes() for array in network.weights.values())
    return zoo.add_stage(
        StageManifest(
            name=network.name,
            architecture={"tiny": network.name},
            inputs=network.inputs,
            outputs=(network.output,),
            weights=digest_bytes(weights),
            parameters=sum(array.size for array in network.weights.values()),
            artifacts={
                form: Artifact(blob=zoo.blobs.put(data), size_bytes=len(data), made_by="a test")
                for form, data in forms.items()
            },
        )
    )


def onnx_bytes(network: Network) -> bytes:
    """Return the network as an ONNX file with the declared names and axes."""
    (output,) = graph_output_names([spec.name for spec in network.inputs], [network.output.name])
    graph = helper.make_graph(
        list(network.nodes),
        network.name,
        [value_info(spec) for spec in network.inputs],
        [value_info(network.output, output)],
        [numpy_helper.from_array(array, name) for name, array in network.weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def value_info(spec: TensorSpec, name: str = "") -> onnx.ValueInfoProto:
    kind = TensorProto.INT64 if spec.dtype == "int64" else TensorProto.FLOAT
    return helper.make_tensor_value_info(name or spec.name, kind, spec.shape)


def weight(shape: tuple[int, ...], seed: str) -> NDArray[np.float32]:
    """Return random weights that depend on ``seed`` alone."""
    generator = np.random.default_rng(list(seed.encode()))
    return generator.normal(0, 1, shape).astype(np.float32)


# The pieces that networks are made of. MASKED gives `masked_NTD` (padding zeroed) and `mean_N1D` (over real tokens).

MASK_NODES = [
    helper.make_node("Cast", ["mask_NT"], ["cast_NT"], to=TensorProto.FLOAT),
    helper.make_node("Unsqueeze", ["cast_NT", "last"], ["mask_NT1"]),
]
MEAN_NODES = [
    *MASK_NODES,
    helper.make_node("Mul", ["tokens_NTD", "mask_NT1"], ["masked_NTD"]),
    helper.make_node("ReduceSum", ["masked_NTD", "tokens"], ["sum_N1D"], keepdims=1),
    helper.make_node("ReduceSum", ["mask_NT1", "tokens"], ["count_N11"], keepdims=1),
    helper.make_node("Div", ["sum_N1D", "count_N11"], ["mean_N1D"]),
]
AXES: dict[str, NDArray[Any]] = {"last": np.array([-1]), "tokens": np.array([1])}


def mean(known: Values) -> NDArray[Any]:
    """Return the mean over real tokens, (N, 1, D)."""
    mask_NT1 = known["mask_NT"][..., None].astype(np.float32)
    total = (known["tokens_NTD"] * mask_NT1).sum(1, keepdims=True)
    average: NDArray[Any] = total / mask_NT1.sum(1, keepdims=True)
    return average


def softmax(logits: NDArray[Any]) -> NDArray[Any]:
    powers = np.exp(logits - logits.max(-1, keepdims=True))
    shares: NDArray[Any] = powers / powers.sum(-1, keepdims=True)
    return shares


def sigmoid(logits: NDArray[Any]) -> NDArray[Any]:
    values: NDArray[Any] = 1 / (1 + np.exp(-logits))
    return values


def embedding() -> Network:
    """Return the first stage of the body: a vector for each token."""
    table = weight((len(WORDS), WIDTH), "embedding")
    return Network(
        name="tiny/0",
        inputs=(IDS, MASK),
        output=TOKENS,
        nodes=[
            *MASK_NODES,
            helper.make_node("Gather", ["table", "ids_NT"], ["rows_NTD"]),
            helper.make_node("Mul", ["rows_NTD", "mask_NT1"], ["tokens_NTD"]),
        ],
        weights={"table": table, "last": AXES["last"]},
        compute=lambda known: table[known["ids_NT"]] * known["mask_NT"][..., None].astype(np.float32),
    )


def mixing(name: str, seed: str) -> Network:
    """Return a stage in which every token sees the mean of all."""
    matrix = weight((WIDTH, WIDTH), seed)
    (after,) = graph_output_names([TOKENS.name, MASK.name], [TOKENS.name])
    return Network(
        name=name,
        inputs=(TOKENS, MASK),
        output=TOKENS,
        nodes=[
            *MEAN_NODES,
            helper.make_node("Add", ["tokens_NTD", "mean_N1D"], ["mixed_NTD"]),
            helper.make_node("MatMul", ["mixed_NTD", "matrix"], ["product_NTD"]),
            helper.make_node("Tanh", ["product_NTD"], [after]),
        ],
        weights={"matrix": matrix, **AXES},
        compute=lambda known: np.tanh((known["tokens_NTD"] + mean(known)) @ matrix),
    )


def pooled(name: str, seed: str, classes: int, activation: str, output: TensorSpec) -> Network:
    """Return a head on the mean of the tokens; ``activation`` is Softmax, or Sigmoid scaled to 0 to 10 for urgency."""
    matrix = weight((WIDTH, classes), seed)
    scale = np.array(10.0 if name == "urgency" else 1.0, np.float32)
    act = softmax if activation == "Softmax" else sigmoid
    return Network(
        name=name,
        inputs=(TOKENS, MASK),
        output=output,
        nodes=[
            *MEAN_NODES,
            helper.make_node("Squeeze", ["mean_N1D", "tokens"], ["mean_ND"]),
            helper.make_node("MatMul", ["mean_ND", "matrix"], ["logits_NC"]),
            helper.make_node(activation, ["logits_NC"], ["unscaled_NC"]),
            helper.make_node("Mul", ["unscaled_NC", "scale"], [output.name]),
        ],
        weights={"matrix": matrix, "scale": scale, **AXES},
        compute=lambda known: act(mean(known)[:, 0] @ matrix) * scale,
    )


def tagging(name: str, seed: str, labels: int) -> Network:
    """Return a head that gives every token a probability for each BIO tag."""
    matrix = weight((WIDTH, 1 + 2 * labels), seed)
    return Network(
        name=name,
        inputs=(TOKENS,),
        output=TensorSpec(name="scores_NTK", dtype="float32", shape=("N", "T", 1 + 2 * labels)),
        nodes=[
            helper.make_node("MatMul", ["tokens_NTD", "matrix"], ["logits_NTK"]),
            helper.make_node("Softmax", ["logits_NTK"], ["scores_NTK"], axis=-1),
        ],
        weights={"matrix": matrix},
        compute=lambda known: softmax(known["tokens_NTD"] @ matrix),
    )


BODY = (embedding(), mixing("tiny/1", "tiny/1"))


def path_of(head: str, seed: int) -> tuple[Network, ...]:
    """Return the networks of a head, from input to answer."""
    answer, name = ANSWERS[head], f"{head} {seed}"
    if isinstance(answer, TagAnswer):
        return (BODY[0], mixing(f"{head}/tail", f"{name} tail"), tagging(head, name, len(answer.labels)))
    if isinstance(answer, RegressAnswer):
        output = TensorSpec(name="values_N1", dtype="float32", shape=("N", 1))
        return (*BODY, pooled(head, name, 1, "Sigmoid", output))
    assert not isinstance(answer, EmbedAnswer | SegmentAnswer), "tests/support/image_zoo.py has such heads"
    classes = len(answer.labels)
    output = TensorSpec(name="scores_NC", dtype="float32", shape=("N", classes))
    activation = "Softmax" if isinstance(answer, ClassifyAnswer) else "Sigmoid"
    return (*BODY, pooled(head, name, classes, activation, output))
