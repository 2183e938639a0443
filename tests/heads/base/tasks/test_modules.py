"""Networks of heads: padding and batch-mates never change an answer, whatever the head reads."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from heads.base import Classify, Embed, Head, Multilabel, Regress, Segment, Tag
from heads.base.declaration import Task
from heads.base.errors import InvalidHead
from heads.base.recipe import Recipe
from heads.base.tasks.modules import HeadStage, make_head
from zoo.manifest import TensorSpec

WIDTH = 12
TEXT = {
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH)),
}
TASKS: dict[str, Task] = {
    "classify": Classify(labels=("a", "b", "c")),
    "multilabel": Multilabel(labels=("a", "b")),
    "regress": Regress(low=2, high=10),
    "tag": Tag(labels=("a", "b")),
    "embed": Embed(dim=6),
}


def made(task: Task, available: dict[str, TensorSpec] = TEXT, **recipe: Any) -> HeadStage:
    torch.manual_seed(0)
    return make_head(Head(name="h", team="h", task=task), Recipe(**recipe), available).eval()


def answer(head: HeadStage, *tensors: Tensor) -> Tensor:
    with torch.inference_mode():
        found: Tensor = head(*tensors)[0]
    return found


def padded(rows: list[Tensor], extra: int) -> tuple[Tensor, Tensor]:
    longest = max(len(row) for row in rows) + extra
    tokens_NTD = torch.full((len(rows), longest, WIDTH), 7.0)  # a body leaves anything at padding
    mask_NT = torch.zeros((len(rows), longest), dtype=torch.int64)
    for index, row in enumerate(rows):
        tokens_NTD[index, : len(row)] = row
        mask_NT[index, : len(row)] = 1
    return tokens_NTD, mask_NT


@pytest.mark.parametrize("shape", [{"hidden": 0}, {"hidden": 8, "context": 2}, {"pool": "mean_max"}], ids=str)
@pytest.mark.parametrize("kind", TASKS)
@settings(deadline=None, max_examples=20)
@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=5), extra=st.integers(0, 6))
def test_padding_and_batch_mates_do_not_change_an_answer(
    kind: str, shape: dict[str, Any], lengths: list[int], extra: int
) -> None:
    head = made(TASKS[kind], **shape)
    generator = torch.Generator().manual_seed(sum(lengths))
    rows = [torch.randn(length, WIDTH, generator=generator) for length in lengths]
    together = answer(head, *padded(rows, extra))
    for index, row in enumerate(rows):
        alone = answer(head, row[None], torch.ones(1, len(row), dtype=torch.int64))
        shared = together[index, : len(row)] if kind == "tag" else together[index]
        torch.testing.assert_close(shared, alone[0], rtol=0, atol=1e-5)


def test_outputs_are_final_and_as_declared() -> None:
    tokens, mask = padded([torch.randn(4, WIDTH) * 9, torch.randn(6, WIDTH)], 0)
    for kind, task in TASKS.items():
        head = made(task)
        found = answer(head, tokens, mask)
        (declared,) = head.outputs
        sizes = {"N": 2, "T": 6}
        assert found.shape == tuple(sizes.get(str(axis), axis) for axis in declared.shape)
        if kind in ("classify", "tag"):
            torch.testing.assert_close(found.sum(-1), torch.ones(found.shape[:-1]))
        elif kind == "regress":
            assert ((found >= 2) & (found <= 10)).all()
        elif kind == "embed":
            torch.testing.assert_close(found.norm(dim=-1), torch.ones(2))
        else:
            assert ((found >= 0) & (found <= 1)).all()


def test_tags_are_one_and_two_per_label() -> None:
    assert made(TASKS["tag"]).outputs[0].shape == ("N", "T", 5)


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", 5, WIDTH)), (3, 5, WIDTH)),
        (TensorSpec(name="features_NCHW", dtype="float32", shape=("N", WIDTH, 2, 3)), (3, WIDTH, 2, 3)),
    ],
)
def test_image_backbones_are_pooled_without_a_mask(spec: TensorSpec, shape: tuple[int, ...]) -> None:
    head = made(TASKS["classify"], {spec.name: spec})
    features = torch.randn(shape)
    order = [4, 2, 0, 1, 3] if spec.name == "tokens_NTD" else None
    shuffled = features[:, order] if order else features.flip(2, 3)
    assert [each.name for each in head.inputs] == [spec.name]
    torch.testing.assert_close(answer(head, features), answer(head, shuffled), rtol=0, atol=1e-6)


def test_a_tagging_head_on_an_image_backbone_is_refused() -> None:
    spec = TensorSpec(name="features_NCHW", dtype="float32", shape=("N", WIDTH, 2, 3))
    with pytest.raises(InvalidHead, match=r"A tag head reads tokens_NTD and mask_NT; .* there is features_NCHW"):
        made(TASKS["tag"], {spec.name: spec})


def test_the_identity_of_a_head_holds_its_scale_and_not_its_dropout() -> None:
    one, other = made(Regress(low=0, high=1), dropout=0.1), made(Regress(low=0, high=1), dropout=0.5)
    assert one.architecture == other.architecture
    assert one.architecture != made(Regress(low=0, high=2)).architecture


IMAGES = TensorSpec(name="images_NCHW", dtype="float32", shape=("N", 3, 24, 24))
MAP = TensorSpec(name="features_NCHW", dtype="float32", shape=("N", WIDTH, 4, 4))
PATCHES = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", 18, WIDTH))
PIXELS = Segment(labels=("ground", "glyph", "dirt"), detail=2)


@pytest.mark.parametrize("shape", [{"hidden": 0, "context": 0}, {"hidden": 8}], ids=str)
def test_every_pixel_of_the_input_gets_a_probability_of_each_label(shape: dict[str, Any]) -> None:
    head = made(PIXELS, {each.name: each for each in (IMAGES, MAP)}, **shape)
    found = answer(head, torch.randn(5, WIDTH, 4, 4) * 9)
    assert head.outputs[0].shape == ("N", 3, 24, 24)
    assert found.shape == (5, 3, 24, 24)
    torch.testing.assert_close(found.sum(1), torch.ones(5, 24, 24))
    logits = head.logits(*head.reduce(torch.randn(1, WIDTH, 4, 4)))
    torch.testing.assert_close(head.finish(logits)[0], head.finish(logits[0]))


def test_a_pixel_is_labelled_by_what_lies_around_it() -> None:
    head = made(PIXELS, {each.name: each for each in (IMAGES, MAP)}, context=0)
    features = torch.randn(1, WIDTH, 4, 4)
    changed = features.clone()
    changed[:, :, 0, 3] += torch.randn(WIDTH)  # the cell at the upper right: 6 × 6 pixels, and half a part around them
    moved_HW = (answer(head, features) - answer(head, changed))[0].abs().amax(0) > 1e-6
    assert moved_HW[:6, 18:].all()
    assert not moved_HW[9:].any()
    assert not moved_HW[:, :15].any()


def test_patches_of_a_square_image_are_a_map_and_what_comes_before_them_is_left_out() -> None:
    """18 tokens are 4 × 4 patches after a class token and a register."""
    torch.manual_seed(0)
    of_map = made(PIXELS, {each.name: each for each in (IMAGES, MAP)})
    of_patches = made(PIXELS, {each.name: each for each in (IMAGES, PATCHES)})
    of_patches.load_state_dict(of_map.state_dict())
    tokens_NTD = torch.randn(2, 18, WIDTH)
    map_NCHW = tokens_NTD[:, 2:].transpose(1, 2).reshape(2, WIDTH, 4, 4)
    torch.testing.assert_close(answer(of_patches, tokens_NTD), answer(of_map, map_NCHW))


def test_pixels_are_labelled_on_image_backbones_whose_places_are_known() -> None:
    with pytest.raises(InvalidHead, match="labels the pixels of an image; 'minilm' takes mask_NT, tokens_NTD"):
        made(PIXELS)
    wide = IMAGES.model_copy(update={"shape": ("N", 3, 24, 48)})
    with pytest.raises(InvalidHead, match="in square images only; those of 'minilm' are 48 × 24"):
        made(PIXELS, {each.name: each for each in (wide, PATCHES)})


def test_the_identity_of_a_head_holds_how_it_labels_pixels() -> None:
    known = {each.name: each for each in (IMAGES, MAP)}
    one, other = made(PIXELS, known), made(Segment(labels=PIXELS.labels, detail=1), known)
    assert one.architecture != other.architecture
    assert made(Embed(dim=2)).architecture != made(Embed(dim=3)).architecture
