"""Loads transformers encoders and their tokenizers from a folder or a hub name; the only module that imports them."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import nn

from backbone.errors import IncompleteModel, UnknownSource
from backbone.preprocessing import Tokenization
from backbone.text import family_of

__all__ = ["load_encoder", "load_tokenization"]


def load_encoder(location: str) -> tuple[nn.Module, Any]:
    """Load an encoder for inference: float32, eager attention, no gradients.

    Args:
        location: a folder as ``save_pretrained`` writes it, or a hub name.

    Returns:
        The model and its configuration.

    Raises:
        UnknownSource: nothing is there.
        UnsupportedModel: no adapter takes it apart.
        IncompleteModel: weights are missing.
    """
    from transformers import AutoConfig, AutoModel

    with _quiet(), _explained(location):
        config = AutoConfig.from_pretrained(location)
        family_of(config)
        config.chunk_size_feed_forward = 0  # a trick to save memory in training; it would fix the text length
        model, report = AutoModel.from_pretrained(
            location,
            config=config,
            attn_implementation="eager",  # the one that exports as plain matrix products
            dtype=torch.float32,
            use_safetensors=True,  # the other format is pickle
            output_loading_info=True,
        )
    # A pooler sits behind the last block and is no part of any stage.
    missing = sorted(key for key in report["missing_keys"] if not key.startswith("pooler."))
    if missing or report["mismatched_keys"]:
        raise IncompleteModel(
            f"'{location}' lacks {len(missing)} of its weights ({', '.join(missing[:3])}, …) and has "
            f"{len(report['mismatched_keys'])} of the wrong shape; expected all that its config.json asks for. "
            "Save the model again with save_pretrained."
        )
    return model.eval().requires_grad_(False), config


def load_tokenization(location: str, config: Any) -> Tokenization:
    """Load the tokenizer of an encoder.

    The longest text is the least of what the position table holds, what the tokenizer states and, for sentence
    models, the ``max_seq_length`` they were trained and evaluated with.

    Args:
        location: the folder or hub name of the model.
        config: the model's configuration.

    Raises:
        IncompleteModel: there is no tokenizer, or none that the ``tokenizers`` library can run.
    """
    from tokenizers import Tokenizer
    from transformers import AutoTokenizer

    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(location)
        # Without any vocabulary transformers makes up a tokenizer that knows no word.
        if not any(_optional_file(location, name) for name in tokenizer.vocab_files_names.values()):
            raise FileNotFoundError("no vocabulary file")
        backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise IncompleteModel(
            f"'{location}' has no tokenizer that the 'tokenizers' library can run ({_first_line(error)}); expected "
            "a tokenizer.json beside the model. Save the fast tokenizer there with save_pretrained."
        ) from error
    backend.no_padding()
    backend.no_truncation()
    limits = [family_of(config).positions(config), int(tokenizer.model_max_length), *_sentence_limit(location)]
    pad_id = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else getattr(config, "pad_token_id", None)
    return Tokenization(
        tokenizer_json=backend.to_str().encode(),
        max_tokens=min(limits),
        pad_id=int(pad_id or 0),
    )


def _sentence_limit(location: str) -> list[int]:
    """``max_seq_length`` of a sentence-transformers model, if this is one."""
    path = _optional_file(location, "sentence_bert_config.json")
    if path is None:
        return []
    limit = json.loads(Path(path).read_text(encoding="utf-8")).get("max_seq_length")
    return [int(limit)] if limit else []


def _optional_file(location: str, name: str) -> str | None:
    """Where a file of a folder or of a hub model lies on this machine, if there is one."""
    from transformers.utils.hub import cached_file

    with _quiet():
        path: str | None = cached_file(
            location,
            name,
            _raise_exceptions_for_missing_entries=False,
            _raise_exceptions_for_connection_errors=False,
            _raise_exceptions_for_gated_repo=False,
        )
    return path


@contextmanager
def _explained(location: str) -> Iterator[None]:
    """What transformers raises for a name that leads nowhere, as ours."""
    try:
        yield
    except (OSError, ValueError) as error:
        raise UnknownSource(
            f"No transformers model could be loaded from '{location}': {_first_line(error)} Expected a folder with "
            "config.json and model.safetensors, or a hub name that this machine can reach."
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars and no advice on standard error while a model loads; what matters becomes an error of ours."""
    from transformers.utils import logging as talk

    bar, level = talk.is_progress_bar_enabled(), talk.get_verbosity()
    talk.disable_progress_bar()  # type: ignore[no-untyped-call]
    talk.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        talk.set_verbosity(level)
        if bar:
            talk.enable_progress_bar()  # type: ignore[no-untyped-call]
