"""A real zoo with one image head, made in a moment without torch: ``colour`` says which channel is the brightest."""

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from PIL import Image

from tests.support.provenance import provenance
from tests.support.tiny_zoo import Network, Values, add_network, softmax
from zoo import Backbone, Zoo
from zoo.digest import digest_bytes
from zoo.manifest import (
    Answer,
    BackboneManifest,
    ClassifyAnswer,
    EmbedAnswer,
    ImagePreprocessing,
    SegmentAnswer,
    Signature,
    TensorSpec,
    VersionManifest,
)
from zoo.preprocessing import load_preprocessor

SIDE = 8
LABELS = ("red", "green", "blue")
IMAGES = TensorSpec(name="images_NCHW", dtype="float32", shape=("N", 3, SIDE, SIDE))
PIXELS = TensorSpec(name="pixels_NC", dtype="float32", shape=("N", 3))
VECTORS = TensorSpec(name="vectors_ND", dtype="float32", shape=("N", 3))
PLACES = TensorSpec(name="scores_NCHW", dtype="float32", shape=("N", 3, SIDE, SIDE))
SCORES = TensorSpec(name="scores_NC", dtype="float32", shape=("N", 3))
PREPROCESSING = ImagePreprocessing(
    height=SIDE, width=SIDE, resize_shorter=10, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)


def pooling() -> Network:
    axes = np.array([2, 3])
    return Network(
        name="pixels/0",
        inputs=(IMAGES,),
        output=PIXELS,
        nodes=[helper.make_node("ReduceMean", ["images_NCHW", "axes"], ["pixels_NC"], keepdims=0)],
        weights={"axes": axes},
        compute=lambda known: known["images_NCHW"].mean((2, 3)),
    )


def scoring() -> Network:
    return Network(
        name="colour",
        inputs=(PIXELS,),
        output=SCORES,
        nodes=[helper.make_node("Softmax", ["pixels_NC"], ["scores_NC"], axis=-1)],
        weights={},
        compute=lambda known: softmax(known["pixels_NC"]),
    )


def hue() -> Network:
    """Return a head that embeds: the mean colour as a vector of length 1."""
    return Network(
        name="hue",
        inputs=(PIXELS,),
        output=VECTORS,
        nodes=[
            helper.make_node("ReduceL2", ["pixels_NC", "axis"], ["length_N1"], keepdims=1),
            helper.make_node("Div", ["pixels_NC", "length_N1"], ["vectors_ND"]),
        ],
        weights={"axis": np.array([1])},
        compute=lambda known: known["pixels_NC"] / np.linalg.norm(known["pixels_NC"], axis=1, keepdims=True),
    )


def areas() -> Network:
    """Return a head that segments: the brightest channel of each pixel."""
    return Network(
        name="areas",
        inputs=(IMAGES,),
        output=PLACES,
        nodes=[helper.make_node("Softmax", ["images_NCHW"], ["scores_NCHW"], axis=1)],
        weights={},
        compute=lambda known: np.moveaxis(softmax(np.moveaxis(known["images_NCHW"], 1, -1)), -1, 1),
    )


def add_vector_and_mask(folder: Path, body: Backbone) -> None:
    """Publish the heads ``hue`` and ``areas`` on the body of an image zoo."""
    heads: tuple[tuple[Network, Answer], ...] = (
        (hue(), EmbedAnswer(dim=3)),
        (areas(), SegmentAnswer(labels=LABELS)),
    )
    with Zoo.open(folder) as zoo:
        for network, answer in heads:
            manifest = VersionManifest(
                backbone=body.digest,
                stages=(*body.manifest.stages, add_network(zoo, network)),
                shared_stages=1,
                preprocessing=PREPROCESSING,
                signature=Signature(inputs=(IMAGES,), outputs=(network.output,)),
                answer=answer,
                **provenance(network.name, "0"),
            )
            zoo.publish(manifest, promote_to=("prod",), reason="for a test")


def make_image_zoo(folder: Path) -> Backbone:
    """Add the head ``colour``, and its body, to the zoo in ``folder``; the zoo is made if there is none."""
    with Zoo.open(folder, create=True) as zoo:
        body = zoo.add_backbone(
            BackboneManifest(
                name="pixels",
                source="pixels",
                source_digest=digest_bytes(b"pixels"),
                stages=(add_network(zoo, pooling()),),
                preprocessing=PREPROCESSING,
                environment={},
            )
        )
        manifest = VersionManifest(
            backbone=body.digest,
            stages=(*body.manifest.stages, add_network(zoo, scoring())),
            shared_stages=1,
            preprocessing=PREPROCESSING,
            signature=Signature(inputs=(IMAGES,), outputs=(SCORES,)),
            answer=ClassifyAnswer(labels=LABELS),
            **provenance("colour", "0"),
        )
        zoo.publish(manifest, promote_to=("prod",), reason="for a test")
    return body


def encoded(colour: tuple[int, int, int], form: str) -> bytes:
    """Return a picture of one colour with a dark corner, as a file of the form ``PNG`` or ``JPEG``."""
    image = Image.new("RGB", (20, 14), colour)
    image.paste((10, 10, 10), (0, 0, 6, 6))
    file = io.BytesIO()
    image.save(file, form)
    return file.getvalue()


def ready(image: bytes) -> Values:
    """Return the tensors that the server makes of an image, without the N axis."""
    return dict(load_preprocessor(PREPROCESSING, lambda _: b"")(image).tensors)


def expected(image: bytes) -> NDArray[np.float32]:
    """Return the scores that ``colour`` must give, without the N axis."""
    known: Values = {name: array[None] for name, array in ready(image).items()}
    known["pixels_NC"] = pooling().compute(known)
    scores: NDArray[np.float32] = scoring().compute(known)[0]
    return scores
