import copy
import functools
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from transformers import AutoModel

from backbone import LoadedBackbone, Tokenization, load_backbone, run_path
from tests.support.tiny_models import TEXT_CONFIGS, quiet_transformers, ragged_text, write_text_model

BATCHES = [[5], [1], [7, 7, 7], [9, 4, 1], [12, 3, 6, 12, 1, 2, 8, 11, 5, 4, 3, 2, 1, 9, 10, 7, 6]]


@pytest.fixture(scope="module")
def minilm() -> LoadedBackbone:
    return load_backbone("minilm")


@pytest.fixture(scope="module")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Writes one model a family, when first asked for it."""
    return functools.cache(lambda family: write_text_model(tmp_path_factory.mktemp(family) / "model", family))


def tokens_of(backbone: LoadedBackbone, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    with torch.no_grad():
        return run_path(backbone.stages, tensors)["tokens_NTD"]


@pytest.mark.parametrize(
    ("family", "split"), [*((family, (1,)) for family in TEXT_CONFIGS), ("bert", ()), ("bert", (0,)), ("mpnet", (2, 3))]
)
def test_chained_stages_give_the_bits_of_the_model_as_transformers_runs_it(
    family: str, split: tuple[int, ...], model_folder: Callable[[str], Path]
) -> None:
    folder = model_folder(family)
    backbone = load_backbone(f"hf:{folder}", split=split)
    with quiet_transformers():
        model = AutoModel.from_pretrained(folder, attn_implementation="eager").eval()
    for lengths in BATCHES:
        tensors = ragged_text(lengths, pad_id=model.config.pad_token_id)
        with torch.no_grad():
            expected = model(input_ids=tensors["ids_NT"], attention_mask=tensors["mask_NT"]).last_hidden_state
        assert torch.equal(tokens_of(backbone, tensors), expected), lengths
        assert torch.equal(backbone.uncut(tensors), expected), lengths


@pytest.mark.parametrize("lengths", BATCHES)
def test_minilm_chained_gives_the_bits_of_minilm_uncut(minilm: LoadedBackbone, lengths: list[int]) -> None:
    tensors = ragged_text(lengths, words=30000)
    assert torch.equal(tokens_of(minilm, tensors), minilm.uncut(tensors))


def test_minilm_is_three_stages_of_two_blocks_that_share_no_weight(minilm: LoadedBackbone) -> None:
    assert [stage.name for stage in minilm.stages] == ["minilm/0", "minilm/1", "minilm/2"]
    assert [stage.architecture["blocks"] for stage in minilm.stages] == [[0, 2], [2, 4], [4, 6]]
    weights = [weight.data_ptr() for stage in minilm.stages for weight in stage.parameters()]
    assert len(weights) == len(set(weights))


def test_stages_declare_what_they_read_and_give(minilm: LoadedBackbone) -> None:
    declared = [
        ([(each.name, each.dtype, each.shape) for each in stage.inputs], [each.shape for each in stage.outputs])
        for stage in minilm.stages
    ]
    mask = ("mask_NT", "int64", ("N", "T"))
    tokens = ("tokens_NTD", "float32", ("N", "T", 384))
    assert declared == [
        ([("ids_NT", "int64", ("N", "T")), mask], [tokens[2]]),
        ([tokens, mask], [tokens[2]]),
        ([tokens, mask], [tokens[2]]),
    ]


def test_minilm_takes_texts_as_long_as_it_was_evaluated_with(minilm: LoadedBackbone) -> None:
    assert isinstance(minilm.preprocessing, Tokenization)
    assert minilm.preprocessing.max_tokens == 256
    assert minilm.preprocessing.pad_id == 0


def test_eager_attention_is_close_to_the_attention_that_transformers_prefers(
    model_folder: Callable[[str], Path],
) -> None:
    folder = model_folder("bert")
    with quiet_transformers():
        preferred = AutoModel.from_pretrained(folder).eval()
    tensors = ragged_text([9, 4, 1])
    with torch.no_grad():
        expected = preferred(input_ids=tensors["ids_NT"], attention_mask=tensors["mask_NT"]).last_hidden_state
    assert preferred.config._attn_implementation != "eager"
    real = tensors["mask_NT"].bool()
    difference = (tokens_of(load_backbone(f"hf:{folder}"), tensors) - expected)[real].abs().max()
    assert difference < 1e-5


@pytest.mark.parametrize("family", TEXT_CONFIGS)
def test_padding_does_not_change_a_row(family: str, model_folder: Callable[[str], Path]) -> None:
    backbone = load_backbone(f"hf:{model_folder(family)}")
    # Of the families that count positions by token ids, padding has to be the model's own.
    pad_id = TEXT_CONFIGS[family].get("pad_token_id", 0)
    padded = ragged_text([9, 4], pad_id=pad_id)
    alone = {name: tensor[1:, :4] for name, tensor in padded.items()}
    assert torch.allclose(tokens_of(backbone, padded)[1:, :4], tokens_of(backbone, alone), atol=1e-5)


def test_backbones_come_frozen_in_float32_and_eval_mode(minilm: LoadedBackbone) -> None:
    for stage in minilm.stages:
        assert not any(part.training for part in stage.modules())
        assert not any(weight.requires_grad for weight in stage.parameters())
        assert {weight.dtype for weight in stage.parameters()} == {torch.float32}


def test_a_private_copy_of_a_stage_can_be_trained_and_leaves_the_shared_one_alone(
    model_folder: Callable[[str], Path],
) -> None:
    backbone = load_backbone(f"hf:{model_folder('bert')}")
    tensors = ragged_text([6, 2])
    before = tokens_of(backbone, tensors)
    tail = copy.deepcopy(backbone.stages[-1]).requires_grad_(True)
    with torch.no_grad():
        prefix = run_path(backbone.stages[:-1], tensors)
    loss = tail(prefix["tokens_NTD"], prefix["mask_NT"])[0].square().mean()
    loss.backward()
    with torch.no_grad():
        for weight in tail.parameters():
            assert weight.grad is not None
            weight.sub_(weight.grad)
        trained = run_path([*backbone.stages[:-1], tail], tensors)["tokens_NTD"]
    assert not torch.equal(trained, before)
    assert torch.equal(tokens_of(backbone, tensors), before)
