"""Noise on training inputs: each row by itself, nothing that every text has, and the same seed gives the same."""

import json
from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from heads.base import Classify, Head
from heads.base.declaration import Segment
from heads.base.errors import InvalidRecipe
from heads.base.fit import check_noise
from heads.base.recipe import Augmentation, Recipe
from heads.base.tails.noise import ImageNoise, TokenNoise, make_noise
from zoo.manifest import ImagePreprocessing, TensorPreprocessing, TensorSpec, TextPreprocessing

TEXT = TextPreprocessing(tokenizer="0" * 64, max_tokens=32, pad_id=0)
IMAGE = ImagePreprocessing(
    height=24, width=32, resize_shorter=32, interpolation="bilinear", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
)
HEAD = Head(name="mood", team="mood", task=Classify(labels=("good", "bad")))


def tokenizer(words: tuple[str, ...]) -> Callable[[str], bytes]:
    made = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return lambda _digest: made.to_str().encode()


@pytest.mark.parametrize(
    ("words", "hidden"),
    [
        (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "hi", "[MASK]"), 5),
        (("[PAD]", "[UNK]", "[CLS]", "[SEP]", "hi"), 1),
        (("<pad>", "hi", "<s>", "</s>"), 0),
    ],
)
def test_hidden_tokens_become_the_mask_or_unknown_or_padding(words: tuple[str, ...], hidden: int) -> None:
    blob = tokenizer(words)
    if "[UNK]" not in words:
        plain = json.loads(blob(""))
        plain["post_processor"] = None
        blob = lambda _digest: json.dumps(plain).encode()  # noqa: E731
    noise = make_noise(Recipe(token_dropout=0.5), TEXT, blob)
    assert isinstance(noise, TokenNoise)
    assert noise.hidden == hidden


@settings(max_examples=25, deadline=None)
@given(share=st.floats(0.05, 0.95), seed=st.integers(0, 1000))
def test_about_the_asked_share_is_hidden_and_special_tokens_never(share: float, seed: int) -> None:
    noise = TokenNoise(share=share, hidden=1, kept=[0, 2, 3])
    torch.manual_seed(seed)
    ids_NT = torch.randint(0, 50, (40, 50))
    found_NT = noise(ids_NT)
    special_NT = ids_NT <= 3
    assert torch.equal(found_NT[special_NT & (ids_NT != 1)], ids_NT[special_NT & (ids_NT != 1)])
    changed_NT = found_NT != ids_NT
    assert (found_NT[changed_NT] == 1).all()
    assert float(changed_NT[~special_NT].float().mean()) == pytest.approx(share, abs=0.06)


@pytest.mark.parametrize("name", get_args(Augmentation))
def test_every_transform_changes_each_image_by_itself_and_keeps_its_shape(name: Augmentation) -> None:
    noise = ImageNoise([name], height=IMAGE.height, width=IMAGE.width, mean=IMAGE.mean, std=IMAGE.std)
    pixels = np.random.default_rng(0).random((1, 3, 24, 32), np.float32)
    mean, std = (torch.tensor(values)[:, None, None] for values in (IMAGE.mean, IMAGE.std))
    images_NCHW = ((torch.from_numpy(pixels) - mean) / std).repeat(24, 1, 1, 1)
    torch.manual_seed(0)
    found_NCHW = noise(images_NCHW)
    torch.manual_seed(0)
    assert torch.equal(found_NCHW, noise(images_NCHW))
    assert found_NCHW.shape == images_NCHW.shape
    assert len({image.numpy().tobytes() for image in found_NCHW}) > 1
    restored_NCHW = found_NCHW * std + mean
    assert float(restored_NCHW.min()) >= -1e-5
    assert float(restored_NCHW.max()) <= 1 + 1e-5


def test_a_recipe_without_noise_makes_none() -> None:
    assert make_noise(Recipe(), TEXT, lambda _digest: b"") is None
    assert make_noise(Recipe(), IMAGE, lambda _digest: b"") is None
    assert isinstance(make_noise(Recipe(augment=("RandomInvert",)), IMAGE, lambda _digest: b""), ImageNoise)


def test_noise_is_refused_where_a_head_does_not_see_its_inputs() -> None:
    check_noise(HEAD, Recipe(), TEXT, shared=3)
    check_noise(HEAD, Recipe(token_dropout=0.1), TEXT, shared=0)
    check_noise(HEAD, Recipe(augment=("RandomInvert",)), IMAGE, shared=0)
    with pytest.raises(InvalidRecipe, match=r"has token_dropout, .* the first 3 stages of 'minilm' are shared"):
        check_noise(HEAD, Recipe(token_dropout=0.1), TEXT, shared=3)
    with pytest.raises(InvalidRecipe, match=r"has augment, .* Take it out, or declare a tail that begins with"):
        check_noise(HEAD, Recipe(augment=("RandomInvert",)), IMAGE, shared=1)
    with pytest.raises(InvalidRecipe, match=r"changes inputs of kind 'image'; those of 'minilm' are of kind 'text'"):
        check_noise(HEAD, Recipe(augment=("RandomInvert",)), TEXT, shared=0)
    tensors = TensorPreprocessing(tensors=(TensorSpec(name="a", dtype="float32", shape=("N", 2)),))
    with pytest.raises(InvalidRecipe, match="changes inputs of kind 'text'"):
        check_noise(HEAD, Recipe(token_dropout=0.1), tensors, shared=0)


def test_a_transform_that_moves_pixels_is_refused_where_each_pixel_has_a_label() -> None:
    mask = Head(name="mask", team="mask", task=Segment(labels=("paper", "ink")))
    check_noise(mask, Recipe(augment=("ColorJitter", "GaussianNoise")), IMAGE, shared=0)
    with pytest.raises(InvalidRecipe, match="has RandomRotation in augment, which would move an image's pixels"):
        check_noise(mask, Recipe(augment=("ColorJitter", "RandomRotation")), IMAGE, shared=0)
