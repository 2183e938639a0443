"""A head for the tiny zoo that brings a private stage of 4 MB, to see where its memory goes."""

import numpy as np
from onnx import helper

from tests.support.provenance import provenance
from tests.support.tiny_zoo import (
    ANSWERS,
    BODY,
    IDS,
    MASK,
    TOKENS,
    WIDTH,
    Network,
    TinyZoo,
    add_network,
    pooled,
    weight,
)
from zoo import Version, Zoo
from zoo.manifest import Signature, TensorSpec, VersionManifest, graph_output_names

__all__ = ["PRIVATE_BYTES", "publish_bulky"]

BREADTH = 64 * 1024
PRIVATE_BYTES = 2 * 4 * WIDTH * BREADTH


def bulk(seed: str) -> Network:
    """Return a stage that widens every token and narrows it again."""
    up, down = weight((WIDTH, BREADTH), f"{seed} up"), weight((BREADTH, WIDTH), f"{seed} down") / np.float32(BREADTH)
    (after,) = graph_output_names([TOKENS.name, MASK.name], [TOKENS.name])
    return Network(
        name="bulky/tail",
        inputs=(TOKENS, MASK),
        output=TOKENS,
        nodes=[
            helper.make_node("MatMul", ["tokens_NTD", "up"], ["wide_NTE"]),
            helper.make_node("MatMul", ["wide_NTE", "down"], ["narrow_NTD"]),
            helper.make_node("Cast", ["mask_NT"], ["cast_NT"], to=1),
            helper.make_node("Unsqueeze", ["cast_NT", "last"], ["mask_NT1"]),
            helper.make_node("Mul", ["narrow_NTD", "mask_NT1"], [after]),
        ],
        weights={"up": up, "down": down, "last": np.array([-1])},
        compute=lambda known: (known["tokens_NTD"] @ up @ down) * known["mask_NT"][..., None].astype(np.float32),
    )


def publish_bulky(tiny: TinyZoo, zoo: Zoo, seed: int) -> Version:
    """Publish a version of the head ``bulky``; another ``seed`` gives its private stage other weights."""
    output = TensorSpec(name="scores_NC", dtype="float32", shape=("N", 3))
    path = (BODY[0], bulk(str(seed)), pooled("bulky", f"bulky {seed}", 3, "Softmax", output))
    manifest = VersionManifest(
        backbone=tiny.body.digest,
        stages=tuple(add_network(zoo, network) for network in path),
        shared_stages=1,
        preprocessing=tiny.body.manifest.preprocessing,
        signature=Signature(inputs=(IDS, MASK), outputs=(output,)),
        answer=ANSWERS["intent"],
        **provenance("bulky", str(seed)),
    )
    version = zoo.publish(manifest, promote_to=["prod"], reason="for a test")
    tiny.paths[version.digest] = path
    return version
