import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from backbone import BackboneError, Tokenization, load_backbone
from backbone.errors import IncompleteModel, InvalidSplit, UnknownSource, UnsupportedModel
from backbone.split import block_ranges
from tests.support.tiny_models import write_text_model, write_tokenizer


@pytest.mark.parametrize("source", ["", "mini-lm", "hf:", "timm", "http://example.org/model", "minilm:2"])
def test_source_of_no_known_kind_is_refused_with_examples(source: str) -> None:
    with pytest.raises(UnknownSource, match="expected 'minilm', 'glyphs', 'hf:<folder or hub name>' or 'timm:"):
        load_backbone(source)


@pytest.mark.parametrize("kind", ["hf", "timm"])
@pytest.mark.parametrize("place", ["/nowhere/model", "./nothing", "../nothing"])
def test_path_to_no_folder_is_refused_without_talk_of_a_hub(kind: str, place: str) -> None:
    with pytest.raises(UnknownSource, match=r"There is no folder .*; expected one with config\.json") as caught:
        load_backbone(f"{kind}:{place}")
    assert "hub" not in str(caught.value).lower()


def test_unsupported_family_is_refused_with_the_supported_ones(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model", "albert", hidden_size=24, num_attention_heads=3, embedding_size=8)
    with pytest.raises(UnsupportedModel, match="'albert'; supported: bert, camembert, distilbert, electra, mpnet"):
        load_backbone(f"hf:{folder}")


def test_decoder_is_refused(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model", is_decoder=True)
    with pytest.raises(UnsupportedModel, match="plain encoder"):
        load_backbone(f"hf:{folder}")


def test_model_that_lacks_weights_is_refused_and_not_filled_with_random_ones(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    del weights["encoder.layer.2.output.dense.weight"]
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(IncompleteModel, match=r"lacks 1 of its weights \(encoder\.layer\.2\.output\.dense\.weight"):
        load_backbone(f"hf:{folder}")


def test_model_without_a_pooler_is_complete(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model")
    weights = {name: value for name, value in load_file(folder / "model.safetensors").items() if "pooler" not in name}
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    assert len(load_backbone(f"hf:{folder}").stages) == 3


def test_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "model", tokenizer=False)
    with pytest.raises(IncompleteModel, match="has no tokenizer"):
        load_backbone(f"hf:{folder}")


def test_tokenizer_comes_without_padding_and_truncation(tmp_path: Path) -> None:
    tokenization = load_backbone(f"hf:{write_text_model(tmp_path / 'model')}").preprocessing
    assert isinstance(tokenization, Tokenization)
    tokenizer = Tokenizer.from_str(tokenization.tokenizer_json.decode())
    assert tokenizer.encode(" ".join(["w1"] * 20)).ids == [2, *[5] * 20, 3]
    assert tokenizer.padding is None


@pytest.mark.parametrize(
    ("family", "limit", "expected"), [("bert", None, 40), ("bert", 16, 16), ("bert", 99, 40), ("roberta", None, 38)]
)
def test_longest_text_is_the_least_that_anything_in_the_model_allows(
    family: str, limit: int | None, expected: int, tmp_path: Path
) -> None:
    folder = write_text_model(tmp_path / "model", family)
    if limit:
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": limit}))
    tokenization = load_backbone(f"hf:{folder}").preprocessing
    assert isinstance(tokenization, Tokenization)
    assert tokenization.max_tokens == expected


def test_nothing_of_a_backbone_names_the_folder_it_came_from(tmp_path: Path) -> None:
    folder = write_text_model(tmp_path / "My Model 2", tokenizer=False)
    write_tokenizer(folder)
    backbone = load_backbone(f"hf:{folder}")
    assert (backbone.name, backbone.source) == ("my-model-2", "hf:My Model 2")
    said = json.dumps([stage.architecture for stage in backbone.stages]) + backbone.source
    assert str(tmp_path) not in said
    assert isinstance(backbone.preprocessing, Tokenization)
    assert str(tmp_path) not in backbone.preprocessing.tokenizer_json.decode()


def test_source_digest_is_of_the_content_and_the_cut_and_not_of_the_place_or_name(tmp_path: Path) -> None:
    source = f"hf:{write_text_model(tmp_path / 'one')}"
    digest = load_backbone(source).source_digest
    assert load_backbone(f"hf:{write_text_model(tmp_path / 'two')}", name="other").source_digest == digest
    assert load_backbone(source, split=(1,)).source_digest != digest
    changed = write_text_model(tmp_path / "three", layer_norm_eps=1e-5)
    assert load_backbone(f"hf:{changed}").source_digest != digest
    weights = load_file(changed / "model.safetensors")
    weights["encoder.layer.3.output.dense.bias"][0] += 1
    save_file(weights, tmp_path / "two" / "model.safetensors", metadata={"format": "pt"})
    assert load_backbone(f"hf:{tmp_path / 'two'}").source_digest != digest


@pytest.mark.parametrize("split", [(6,), (3, 3), (4, 2), (-1,), (0, 0), (2, 9)])
def test_split_that_does_not_cut_the_model_is_refused(split: tuple[int, ...]) -> None:
    with pytest.raises(InvalidSplit, match="rising block indices between 1 and 5"):
        block_ranges(6, split)


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.sets(st.integers(0, n - 1)))))
def test_every_block_is_in_exactly_one_stage(case: tuple[int, set[int]]) -> None:
    blocks, split = case
    ranges = block_ranges(blocks, sorted(split))
    assert [block for first, end in ranges for block in range(first, end)] == list(range(blocks))
    assert all(first < end for first, end in ranges)


def test_every_backbone_error_has_a_code_of_its_own() -> None:
    kinds: list[type[BackboneError]] = [BackboneError, *BackboneError.__subclasses__()]
    assert len({kind.code for kind in kinds}) == len(kinds)
