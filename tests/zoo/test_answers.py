"""Outputs to typed answers."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.answers import Classification, Embedding, Multilabel, Regression, Segmentation, Span, Tagging, decode
from zoo.errors import InvalidInput, InvalidOutput
from zoo.manifest import ClassifyAnswer, EmbedAnswer, MultilabelAnswer, RegressAnswer, SegmentAnswer, TagAnswer
from zoo.preprocessing import Row

LABELS = ("person", "city")
TAGS = ("O", "B-person", "I-person", "B-city", "I-city")
BARE = Row(tensors={}, length=1, digest="")


def row(text: str, offsets: list[tuple[int, int]]) -> Row:
    return Row(tensors={}, length=len(offsets), digest="", text=text, offsets=tuple(offsets))


def probabilities(tags: list[str], certainty: float = 0.8) -> np.ndarray:
    scores_TK = np.full((len(tags), len(TAGS)), (1 - certainty) / (len(TAGS) - 1), np.float32)
    scores_TK[range(len(tags)), [TAGS.index(tag) for tag in tags]] = certainty
    return scores_TK


def spans(text: str, *tagged: tuple[str, str]) -> list[tuple[str, str]]:
    """Decode words of the text with their tags; a word that begins with ~ touches the one before it."""
    offsets, place = [(0, 0)], 0
    for word, _ in tagged:
        bare = word.removeprefix("~")
        start = text.index(bare, place)
        place = start + len(bare)
        offsets.append((start, place))
    offsets.append((0, 0))
    tags = ["B-city", *(tag for _, tag in tagged), "B-city"]  # special tokens, whatever their tag, are no span
    answer = decode(TagAnswer(labels=LABELS), {"scores_NTK": probabilities(tags)}, row(text, offsets))
    assert isinstance(answer, Tagging)
    assert all(text[span.start : span.end] == span.text for span in answer.spans)
    return [(span.label, span.text) for span in answer.spans]


def test_a_classification_is_the_likeliest_label_with_all_scores_in_order() -> None:
    answer = ClassifyAnswer(labels=("a", "b", "c"))
    scores = np.array([0.25, 0.625, 0.125], np.float32)
    expected = Classification(label="b", scores={"a": 0.25, "b": 0.625, "c": 0.125})
    decoded = decode(answer, {"scores_NC": scores}, BARE)
    assert decoded == expected
    assert isinstance(decoded, Classification)
    assert list(decoded.scores) == ["a", "b", "c"]


def test_a_multilabel_answer_holds_the_labels_at_or_above_their_own_threshold() -> None:
    answer = MultilabelAnswer(labels=("a", "b", "c"), thresholds=(0.5, 0.7, 0.2))
    scores = np.array([0.49, 0.7, 0.9], np.float32)  # 0.7 as float32 is a little less than 0.7
    decoded = decode(answer, {"scores_NC": scores}, BARE)
    assert isinstance(decoded, Multilabel)
    assert decoded.labels == ("b", "c")
    assert list(decoded.scores) == ["a", "b", "c"]


def test_no_label_may_apply() -> None:
    answer = MultilabelAnswer(labels=("a",), thresholds=(0.5,))
    decoded = decode(answer, {"scores_NC": np.array([0.1], np.float32)}, BARE)
    assert isinstance(decoded, Multilabel)
    assert decoded.labels == ()


def test_a_regression_names_its_value_and_bounds() -> None:
    decoded = decode(RegressAnswer(low=0, high=10), {"values_N1": np.array([7.5], np.float32)}, BARE)
    assert decoded == Regression(value=7.5, low=0, high=10)


def test_a_span_runs_from_its_begin_tag_over_its_inside_tags() -> None:
    tagged = [("I", "O"), ("am", "O"), ("Ada", "B-person"), ("Lovelace", "I-person"), ("in", "O"), ("Rome", "B-city")]
    assert spans("I am Ada Lovelace in Rome", *tagged) == [("person", "Ada Lovelace"), ("city", "Rome")]


def test_an_inside_tag_without_a_begin_tag_starts_a_span() -> None:
    assert spans("to Rome now", ("to", "O"), ("Rome", "I-city"), ("now", "O")) == [("city", "Rome")]


def test_an_inside_tag_of_another_label_starts_its_own_span() -> None:
    assert spans("Ada Rome", ("Ada", "B-person"), ("Rome", "I-city")) == [("person", "Ada"), ("city", "Rome")]


def test_a_begin_tag_starts_a_new_span_of_the_same_label() -> None:
    assert spans("Ada Bob", ("Ada", "B-person"), ("Bob", "B-person")) == [("person", "Ada"), ("person", "Bob")]


def test_word_pieces_that_touch_are_one_span_whatever_begins() -> None:
    tagged = [("ada", "B-person"), ("~@", "I-person"), ("~x", "B-person"), ("~.", "I-person"), ("~org", "B-person")]
    assert spans("ada@x.org", *tagged) == [("person", "ada@x.org")]


def test_a_gap_of_o_ends_a_span() -> None:
    tagged = [("Ada", "B-person"), ("and", "O"), ("Bob", "I-person")]
    assert spans("Ada and Bob", *tagged) == [("person", "Ada"), ("person", "Bob")]


def test_offsets_count_code_points() -> None:
    text = "👩‍🚀 é Rome"
    assert spans(text, ("Rome", "B-city")) == [("city", "Rome")]


def test_white_space_that_a_tokenizer_counts_into_a_token_is_not_part_of_a_span() -> None:
    answer = decode(
        TagAnswer(labels=LABELS), {"scores_NTK": probabilities(["B-city", "I-city"])}, row("a b ", [(1, 3), (3, 4)])
    )
    assert isinstance(answer, Tagging)
    assert [(span.start, span.end, span.text) for span in answer.spans] == [(2, 3, "b")]


def test_a_spans_score_is_the_mean_probability_of_its_tags() -> None:
    scores_TK = np.concatenate([probabilities(["B-city"], 0.5), probabilities(["I-city"], 0.75)])
    answer = decode(TagAnswer(labels=LABELS), {"scores_NTK": scores_TK}, row("New York", [(0, 3), (4, 8)]))
    assert answer == Tagging(spans=(Span(label="city", start=0, end=8, text="New York", score=0.625),))


def test_ready_tensors_cannot_be_tagged_and_the_error_says_what_to_send() -> None:
    with pytest.raises(InvalidInput, match="Send the text itself"):
        decode(TagAnswer(labels=LABELS), {"scores_NTK": probabilities(["O"])}, BARE)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_numbers_that_are_not_finite_are_no_answer(broken: float) -> None:
    with pytest.raises(InvalidOutput, match="'scores_NC' holds a NaN"):
        decode(ClassifyAnswer(labels=("a", "b")), {"scores_NC": np.array([broken, 0.5], np.float32)}, BARE)


@st.composite
def tagged_tokens(draw: st.DrawFn) -> tuple[str, list[tuple[int, int]], list[str]]:
    """A text with tokens that touch, leave gaps, share one character or are special, each with any tag."""
    text = draw(st.text(st.sampled_from("aB1 \t\né👍漢"), min_size=1, max_size=24))
    offsets, place = [], 0
    while place < len(text) and draw(st.integers(0, 9)):
        start = draw(st.integers(place, len(text) - 1))
        end = draw(st.integers(start + 1, min(len(text), start + 4)))
        offsets += [(start, end)] * draw(st.integers(1, 3))
        offsets += [(0, 0)] * draw(st.integers(0, 1))
        place = end
    offsets = offsets or [(0, 0)]
    tags = draw(st.lists(st.sampled_from(TAGS), min_size=len(offsets), max_size=len(offsets)))
    return text, offsets, tags


@given(tagged_tokens())
def test_spans_are_in_order_never_overlap_and_quote_the_text(
    case: tuple[str, list[tuple[int, int]], list[str]],
) -> None:
    text, offsets, tags = case
    decoded = decode(TagAnswer(labels=LABELS), {"scores_NTK": probabilities(tags)}, row(text, offsets))
    assert isinstance(decoded, Tagging)
    for span in decoded.spans:
        assert span.text == text[span.start : span.end] == span.text.strip() != ""
        assert 0 < span.score <= 1
    assert all(one.end <= other.start for one, other in pairwise(decoded.spans))


@given(tagged_tokens())
def test_a_token_with_visible_characters_lies_in_a_span_unless_tokens_that_touch_it_have_another_tag(
    case: tuple[str, list[tuple[int, int]], list[str]],
) -> None:
    text, offsets, tags = case
    decoded = decode(TagAnswer(labels=LABELS), {"scores_NTK": probabilities(tags)}, row(text, offsets))
    assert isinstance(decoded, Tagging)
    tagged = [(place, tag[2:]) for place, tag in zip(offsets, tags, strict=True) if place[0] < place[1]]
    for (start, end), label in tagged:
        touching = {other for (first, last), other in tagged if first <= end and start <= last}
        if label and touching == {label} and text[start:end].strip():
            assert any(span.start < end and start < span.end for span in decoded.spans)


def test_a_word_is_labelled_as_a_whole_by_the_mean_of_its_tokens() -> None:
    offsets = [(0, 4), (4, 7), (7, 8), (9, 13)]  # Szym|bor|a lost
    scores_TK = np.concatenate(
        [
            probabilities(["B-city"], 0.9),
            probabilities(["O"], 0.6),
            probabilities(["B-city"], 0.9),
            probabilities(["O"], 0.9),
        ]
    )
    answer = decode(TagAnswer(labels=LABELS), {"scores_NTK": scores_TK}, row("Szymbora lost", offsets))
    assert isinstance(answer, Tagging)
    assert [(span.label, span.text) for span in answer.spans] == [("city", "Szymbora")]
    mostly_not = np.concatenate([probabilities(["O", "O"], 0.9), probabilities(["B-city", "O"], 0.8)])
    answer = decode(TagAnswer(labels=LABELS), {"scores_NTK": mostly_not}, row("Szymbora lost", offsets))
    assert answer == Tagging(spans=())


def test_a_vector_is_answered_as_it_is() -> None:
    vector_D = np.array([0.6, -0.8], np.float32)
    assert decode(EmbedAnswer(dim=2), {"vectors_ND": vector_D}, BARE) == Embedding(vector=tuple(vector_D.tolist()))


def test_a_pixel_has_its_likeliest_label_and_every_label_its_share() -> None:
    scores_CHW = np.array([[[0.9, 0.2, 0.4]], [[0.1, 0.7, 0.3]], [[0.0, 0.1, 0.3]]], np.float32)
    answer = decode(SegmentAnswer(labels=("ground", "glyph", "dirt")), {"scores_NCHW": scores_CHW}, BARE)
    assert isinstance(answer, Segmentation)
    assert answer.mask.array.tolist() == [[0, 1, 0]]
    assert list(answer.shares.items()) == [("ground", 2 / 3), ("glyph", 1 / 3), ("dirt", 0.0)]
