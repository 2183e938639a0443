"""Where an image speaks for its answer, also where the head reads of no places any more."""

from dataclasses import asdict

import numpy as np
import torch

from backbone.load import load_backbone
from backbone.pretrain.drawing import Look, draw_picture
from heads.base import Classify, Head
from heads.base.inspect.attribution import map_image
from heads.base.inspect.collect import Judged
from heads.base.inspect.rebuilt import Rebuilt
from heads.base.recipe import Recipe
from heads.base.tasks.modules import make_head
from zoo.examples import Example
from zoo.manifest import ClassifyAnswer, ImagePreprocessing, TensorSpec
from zoo.preprocessing import Row

PREPROCESSING = ImagePreprocessing(
    height=48, width=48, resize_shorter=48, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)
)


def test_a_map_tells_places_apart_also_where_the_head_reads_a_single_one() -> None:
    stages = load_backbone("glyphs").stages
    available = {spec.name: TensorSpec(**asdict(spec)) for spec in stages[-1].outputs}
    assert available["features_NCHW"].shape[2:] == (1, 1)
    torch.manual_seed(0)
    head = make_head(
        Head(name="ab", team="ab", backbone="glyphs", task=Classify(labels=("a", "b"))), Recipe(), available
    )
    pixels_HWC = draw_picture("g", "DejaVuSans", Look(shift_px=(-12, -12), font_px=16)).astype(np.float32)
    images_CHW = (pixels_HWC.transpose(2, 0, 1) / 255 - 0.5) / 0.5
    judged = Judged(
        example=Example(id="a-1", text="", image="0" * 64, split="valid", slices=(), kind="label", target="a"),
        row=Row(tensors={"images_NCHW": images_CHW}, length=1, digest="0" * 64),
        answer="a",
        output=np.array([0.6, 0.4], np.float32),
        inputs={},
        loss=0.5,
        deviation=None,
    )
    answer = ClassifyAnswer(output="scores_NC", labels=("a", "b"))
    found = map_image(Rebuilt(list(stages), head, ["images_NCHW"]), answer, judged, PREPROCESSING)
    assert found is not None
    assert found.heat.shape == (48, 48)
    assert found.heat.max() == 1
    assert found.heat.std() > 0.05, "a map of one value says nothing"
