"""Text to token ids, by a tokenizer stored in the zoo."""

from collections.abc import Mapping

import numpy as np
from tokenizers import Encoding, Tokenizer

from zoo.digest import digest_bytes
from zoo.errors import Corrupt, InvalidInput, TooLong, Undecodable
from zoo.manifest import TensorSpec, TextPreprocessing
from zoo.preprocessing.row import Arrays, Raw, Row, digest_tensors, digest_text
from zoo.preprocessing.tensor import check_tensors, describe_raw

__all__ = ["MAX_BYTES_PER_TOKEN", "TextPreprocessor"]

MAX_BYTES_PER_TOKEN = 64
"""A text of more UTF-8 bytes than this times ``max_tokens`` is refused before it is tokenised.

Prose has 4 to 5 bytes a token, so nothing that would fit comes near; what does is a megabyte sent by mistake.
"""

_DECLARED = (
    TensorSpec(name="ids_NT", dtype="int64", shape=("N", "T")),
    TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
)


class TextPreprocessor:
    """Tokenises whole texts: the tokenizer's own padding and truncation are off, and nothing is ever cut.

    Special tokens that a caller writes in the text ("[SEP]") are ordinary text: only the tokenizer's own template
    adds special tokens.
    """

    def __init__(self, spec: TextPreprocessing, tokenizer_json: bytes) -> None:
        self.spec = spec
        self.declared = _DECLARED
        self._tokenizer = _load_tokenizer(tokenizer_json)
        self._max_id = max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def __call__(self, raw: Raw) -> Row:
        """Preprocess a text, or check ready ``ids_NT`` and ``mask_NT``; see ``Preprocessor``."""
        if isinstance(raw, str):
            return self._from_text(raw)
        if isinstance(raw, Mapping):
            return self._from_tensors(raw)
        raise InvalidInput(f"This model takes text, or ready tensors ids_NT and mask_NT; got {describe_raw(raw)}.")

    def _from_text(self, text: str) -> Row:
        self._check_bytes(text)
        encoding = self._tokenizer.encode(text)
        tokens = len(encoding.ids)
        self._check_tokens(tokens, "The text")
        if tokens == 0:
            raise InvalidInput("The text gives no tokens at all; send at least one word.")
        ids = np.array(encoding.ids, np.int64)
        return Row(
            tensors={"ids_NT": ids, "mask_NT": np.ones_like(ids)},
            length=tokens,
            digest=digest_text(text),
            text=text,
            offsets=_offsets(encoding),
        )

    def _check_bytes(self, text: str) -> None:
        try:
            size = len(text.encode())
        except UnicodeEncodeError as error:
            raise Undecodable(
                f"The text is not Unicode: a lone surrogate {error.object[error.start]!a} at position {error.start}. "
                "Decode the bytes that it came from as UTF-8 before sending it."
            ) from error
        limit = self.spec.max_tokens * MAX_BYTES_PER_TOKEN
        if size > limit:
            raise TooLong(
                f"The text has {size:,} bytes; at most {limit:,} bytes are tokenised for a model that takes "
                f"{self.spec.max_tokens} tokens. Shorten the text, or split it and ask for each part."
            )

    def _check_tokens(self, tokens: int, what: str) -> None:
        if tokens > self.spec.max_tokens:
            raise TooLong(
                f"{what} has {tokens:,} tokens, special tokens included; the model takes at most "
                f"{self.spec.max_tokens}, and nothing is cut. Shorten the text, or split it and ask for each part."
            )

    def _from_tensors(self, tensors: Arrays) -> Row:
        length = check_tensors(tensors, self.declared)["T"]
        self._check_tokens(length, "The row")
        ids, mask = tensors["ids_NT"], tensors["mask_NT"]
        if ids.min() < 0 or ids.max() > self._max_id:
            raise InvalidInput(
                f"ids_NT holds ids from {ids.min()} to {ids.max()}; the vocabulary has 0 to {self._max_id}. "
                "Tokenise with the model's own tokenizer, or send the text."
            )
        if not np.isin(mask, (0, 1)).all() or not mask.any():
            raise InvalidInput("mask_NT is 1 for a token and 0 for padding, with at least one token; got other values.")
        return Row(tensors=dict(tensors), length=length, digest=digest_tensors(tensors))


def _load_tokenizer(tokenizer_json: bytes) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_str(tokenizer_json.decode())
    except Exception as error:  # tokenizers raises a bare Exception on JSON that it cannot read
        digest = digest_bytes(tokenizer_json)
        raise Corrupt(
            f"Blob {digest} is no tokenizers JSON file: {error}. Store the `tokenizer.json` of a fast tokenizer."
        ) from error
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _offsets(encoding: Encoding) -> tuple[tuple[int, int], ...]:
    return tuple(
        (0, 0) if special else (start, end)
        for (start, end), special in zip(encoding.offsets, encoding.special_tokens_mask, strict=True)
    )
