"""Text preprocessing, on a word-piece tokenizer that the test builds."""

import subprocess
import sys
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.processors import TemplateProcessing

from zoo.errors import Corrupt, InvalidInput, TooLong, Undecodable
from zoo.manifest import TextPreprocessing
from zoo.preprocessing import Preprocessor, collate, load_preprocessor

VOCABULARY = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "card", "was", "charge", "##d", "twice", "cafe", "!", "[", "]"]
PAD, UNK, CLS, SEP, MY, CARD, WAS, CHARGE, D, TWICE, CAFE = range(11)


def tokenizer_json(*, template: bool = True) -> bytes:
    tokenizer = Tokenizer(WordPiece({word: i for i, word in enumerate(VOCABULARY)}, unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer()
    tokenizer.pre_tokenizer = BertPreTokenizer()
    tokenizer.add_special_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]"])
    if template:
        specials = [("[CLS]", CLS), ("[SEP]", SEP)]
        tokenizer.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=specials)
    # What a tokenizer's file says of padding and truncation must not matter.
    tokenizer.enable_padding(length=12)
    tokenizer.enable_truncation(max_length=4)
    return tokenizer.to_str().encode()


def load(*, max_tokens: int = 16, json: bytes | None = None) -> Preprocessor:
    spec = TextPreprocessing(tokenizer="00" * 32, max_tokens=max_tokens, pad_id=PAD)
    stored = tokenizer_json() if json is None else json
    read_blob: Callable[[str], bytes] = {spec.tokenizer: stored}.__getitem__
    return load_preprocessor(spec, read_blob)


def test_a_text_becomes_ids_with_a_full_mask_and_code_point_offsets() -> None:
    text = "My 💳 card was charged"
    row = load()(text)
    assert row.tensors["ids_NT"].tolist() == [CLS, MY, UNK, CARD, WAS, CHARGE, D, SEP]
    assert row.tensors["mask_NT"].tolist() == [1] * 8
    assert {array.dtype for array in row.tensors.values()} == {np.dtype(np.int64)}
    assert row.length == 8
    assert row.text == text
    assert [text[start:end] for start, end in row.offsets] == ["", "My", "💳", "card", "was", "charge", "d", ""]


def test_offsets_point_into_the_text_as_it_was_sent_not_as_it_was_normalised() -> None:
    text = "cafe\u0301 CARD"
    row = load()(text)
    assert row.tensors["ids_NT"].tolist() == [CLS, CAFE, CARD, SEP]
    assert text[slice(*row.offsets[2])] == "CARD"


def test_an_empty_text_gives_only_special_tokens() -> None:
    row = load()("")
    assert row.tensors["ids_NT"].tolist() == [CLS, SEP]
    assert row.offsets == ((0, 0), (0, 0))


def test_an_empty_text_without_special_tokens_is_refused() -> None:
    with pytest.raises(InvalidInput, match="no tokens"):
        load(json=tokenizer_json(template=False))("")


def test_a_special_token_written_by_the_caller_is_ordinary_text() -> None:
    ids = load()("my [SEP] card").tensors["ids_NT"].tolist()
    assert ids.count(SEP) == 1
    assert ids[-1] == SEP


def test_a_text_at_the_limit_is_taken_and_one_token_more_is_refused_whole() -> None:
    preprocess = load(max_tokens=6)
    assert preprocess("my card was twice").length == 6
    with pytest.raises(TooLong, match=r"has 7 tokens.*at most 6.*split it"):
        preprocess("my card was twice twice")


def test_a_huge_text_is_refused_by_its_bytes_before_it_is_tokenised() -> None:
    with pytest.raises(TooLong, match=r"10,000,000 bytes; at most 1,024 bytes.*16 tokens.*split it"):
        load(max_tokens=16)("a" * 10_000_000)


def test_a_lone_surrogate_is_undecodable_and_its_place_is_named() -> None:
    with pytest.raises(Undecodable, match=r"\\ud83d.*position 3"):
        load()("my \ud83d card")


@pytest.mark.parametrize(("raw", "named"), [(b"\xff\xd8", "bytes of an image"), (7, "int"), (None, "NoneType")])
def test_an_input_of_another_kind_is_refused_by_its_name(raw: object, named: str) -> None:
    with pytest.raises(InvalidInput, match=rf"takes text.*got .*{named}"):
        load()(raw)  # type: ignore[arg-type]


def test_ready_tensors_are_taken_as_they_are() -> None:
    ids, mask = np.array([CLS, MY, SEP, PAD]), np.array([1, 1, 1, 0])
    row = load()({"ids_NT": ids, "mask_NT": mask})
    assert row.tensors["ids_NT"] is ids
    assert row.length == 4
    assert row.text == ""
    assert row.offsets == ()


@pytest.mark.parametrize(
    ("ids", "mask", "message"),
    [
        (np.array([2, 3], np.int32), np.array([1, 1]), r"\(T\) int64; got \(2\) int32"),
        (np.array([[2, 3]]), np.array([1, 1]), r"got \(1, 2\) int64"),
        (np.array([2, 3]), np.array([1, 1, 1]), r"T = 2.*got \(3\)"),
        (np.array([], np.int64), np.array([], np.int64), "no axis empty"),
        (np.array([2, 14]), np.array([1, 1]), "from 2 to 14; the vocabulary has 0 to 13"),
        (np.array([-1, 3]), np.array([1, 1]), "from -1 to 3"),
        (np.array([2, 3]), np.array([1, 2]), "mask_NT is 1"),
        (np.array([2, 3]), np.array([0, 0]), "at least one token"),
        ([2, 3], np.array([1, 1]), "got a list"),
    ],
)
def test_ready_tensors_that_do_not_fit_are_refused(ids: np.ndarray, mask: np.ndarray, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        load()({"ids_NT": ids, "mask_NT": mask})


def test_too_many_ready_tokens_are_too_long() -> None:
    with pytest.raises(TooLong, match="has 5 tokens"):
        load(max_tokens=4)({"ids_NT": np.full(5, MY), "mask_NT": np.ones(5, np.int64)})


def test_a_wrong_tensor_name_is_answered_with_the_closest() -> None:
    with pytest.raises(InvalidInput, match="Did you mean 'ids_NT'"):
        load()({"id_NT": np.array([2, 3]), "mask_NT": np.array([1, 1])})
    with pytest.raises(InvalidInput, match="Missing mask_NT"):
        load()({"ids_NT": np.array([2, 3])})


def test_a_blob_that_is_no_tokenizer_is_corrupt() -> None:
    with pytest.raises(Corrupt, match=r"no tokenizers JSON file.*tokenizer\.json"):
        load(json=b"{}")


def test_collate_pads_ids_with_the_padding_id_and_the_mask_with_zero() -> None:
    spec = TextPreprocessing(tokenizer="00" * 32, max_tokens=8, pad_id=5)
    preprocess = load_preprocessor(spec, lambda _digest: tokenizer_json())
    batch = collate([preprocess("my card"), preprocess("my")], preprocess)
    assert batch["ids_NT"].tolist() == [[CLS, MY, CARD, SEP], [CLS, MY, SEP, 5]]
    assert batch["mask_NT"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert {array.dtype for array in batch.values()} == {np.dtype(np.int64)}


def test_equal_texts_have_equal_digests_and_others_do_not() -> None:
    preprocess = load()
    digests = {preprocess(text).digest for text in ("my", "my", "My", "my ", "")}
    assert len(digests) == 4


PREPROCESS = load(max_tokens=64)


@given(st.text(max_size=80))
def test_every_text_becomes_a_row_or_a_domain_error(text: str) -> None:
    try:
        row = PREPROCESS(text)
    except (TooLong, Undecodable):
        return
    assert row.length == len(row.offsets) == len(row.tensors["ids_NT"])
    assert all(0 <= start <= end <= len(text) for start, end in row.offsets)
    assert [start for start, _ in row.offsets[1:-1]] == sorted(start for start, _ in row.offsets[1:-1])


def test_importing_zoo_preprocessing_imports_neither_tokenizers_nor_pillow_nor_torch() -> None:
    code = "import sys, zoo.preprocessing; print([m for m in ('tokenizers', 'PIL', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
