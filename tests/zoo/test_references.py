import pytest
from hypothesis import given
from hypothesis import strategies as st

from zoo.errors import InvalidReference
from zoo.references import check_alias, parse_reference


@pytest.mark.parametrize(
    ("text", "number", "alias", "digest"),
    [
        ("intent", 0, False, False),
        ("intent@7", 7, False, False),
        ("intent@12345678", 12345678, False, True),
        ("intent@prod", 0, True, False),
        ("intent@deadbeef", 0, True, True),
        ("intent@3f9c01ab", 0, False, True),
    ],
)
def test_a_reference_says_what_its_selector_can_be(text: str, number: int, alias: bool, digest: bool) -> None:
    reference = parse_reference(text)
    assert (reference.number, reference.is_alias, reference.is_digest) == (number, alias, digest)


@pytest.mark.parametrize(
    "text",
    ["", "@", "@7", "intent@", "intent@@7", "Intent", "in tent", "intent@0", "intent@3f9c", "a@b\n"],
)
def test_what_is_no_reference_is_refused_with_examples(text: str) -> None:
    with pytest.raises(InvalidReference, match="intent@7, intent@prod"):
        parse_reference(text)


@given(st.text(max_size=20))
def test_parsing_either_refuses_or_gives_back_what_was_written(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidReference:
        return
    assert "@".join(filter(None, reference)) == text


@pytest.mark.parametrize("alias", ["Prod", "7", "", "deadbeef", "a" * 64, "prod@2"])
def test_names_that_could_be_misread_cannot_be_aliases(alias: str) -> None:
    with pytest.raises(InvalidReference, match="cannot be an alias"):
        check_alias(alias)
