"""Tiny models with random weights, written to disk by their own libraries as real ones are."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *(f"w{number}" for number in range(96))]

_BERT = {
    "vocab_size": 100,
    "hidden_size": 24,
    "num_hidden_layers": 4,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}

TEXT_CONFIGS: dict[str, dict[str, Any]] = {
    "bert": _BERT,
    "camembert": {**_BERT, "pad_token_id": 1},
    "distilbert": {
        "vocab_size": 100,
        "dim": 24,
        "n_layers": 4,
        "n_heads": 3,
        "hidden_dim": 40,
        "max_position_embeddings": 40,
    },
    "electra": {**_BERT, "embedding_size": 16},
    "mpnet": {**_BERT, "pad_token_id": 1},
    "roberta": {**_BERT, "pad_token_id": 1},
    "xlm-roberta": {**_BERT, "pad_token_id": 1},
}

IMAGE_MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "vit": ("vit_tiny_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 4, "num_heads": 3}),
    "deit": ("deit_tiny_distilled_patch16_224", {"img_size": 32, "embed_dim": 24, "depth": 3, "num_heads": 3}),
    "convnext": ("convnext_atto", {"depths": (1, 2, 2, 1), "dims": (8, 12, 16, 20)}),
    "convnext linear mlp": ("convnext_tiny", {"depths": (1, 1, 1, 1), "dims": (8, 12, 16, 20)}),
}


def write_text_model(folder: Path, family: str = "bert", *, tokenizer: bool = True, **changes: Any) -> Path:
    """Write an encoder and a word-level tokenizer; return the folder."""
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(family, **{**TEXT_CONFIGS.get(family, {}), **changes})
    with quiet_transformers():
        model = AutoModel.from_config(config)  # type: ignore[no-untyped-call]
        randomise(model)
        model.save_pretrained(folder)
    if tokenizer:
        write_tokenizer(folder)
    return folder


def write_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.enable_truncation(7)
    tokenizer.enable_padding()
    fast: Any = PreTrainedTokenizerFast
    fast(tokenizer_object=tokenizer, pad_token="[PAD]").save_pretrained(folder)


def write_image_model(folder: Path, kind: str = "vit", **pretrained_cfg: Any) -> Path:
    """Write a timm model; return the folder."""
    import timm
    from timm.models import save_for_hf

    name, arguments = IMAGE_MODELS.get(kind, (kind, {}))
    model = timm.create_model(name, pretrained=False, **arguments)
    randomise(model)
    config = {"input_size": (3, 32, 32), **pretrained_cfg}
    save_for_hf(model, str(folder), model_args=arguments, data_config=config, safe_serialization=True)
    return folder


def randomise(model: nn.Module) -> None:
    """Give every weight a random value: fresh models have zeros and ones in places where an error would hide."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(torch.randn(weight.shape, generator=generator) * 0.2)


@contextmanager
def quiet_transformers() -> Iterator[None]:
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if bar:
            logging.enable_progress_bar()  # type: ignore[no-untyped-call]


def ragged_text(lengths: list[int], *, pad_id: int = 0, words: int = 100) -> dict[str, torch.Tensor]:
    """Random rows of the given lengths in tokens, padded to the longest."""
    generator = torch.Generator().manual_seed(len(lengths))
    longest = max(lengths)
    mask_NT = (torch.arange(longest) < torch.tensor(lengths)[:, None]).to(torch.int64)
    ids_NT = torch.randint(4, words, (len(lengths), longest), generator=generator)
    return {"ids_NT": torch.where(mask_NT == 1, ids_NT, pad_id), "mask_NT": mask_NT}
