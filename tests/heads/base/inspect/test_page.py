"""The page: what users wrote is text and never markup, ids are one of a kind, and nothing is loaded from elsewhere."""

from html.parser import HTMLParser

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from heads.base.inspect import figures
from heads.base.inspect.page import Section, element, page, picture, svg, table
from tests.support.html_page import ParsedPage


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


_WRITTEN = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"))


@given(_WRITTEN, _WRITTEN)
def test_whatever_is_written_comes_out_as_the_same_text_in_the_same_element(inner: str, title: str) -> None:
    parser = _Text()
    parser.feed(element("p", inner, title=title))
    parser.close()
    assert parser.text == inner
    assert parser.tags == [("p", {"title": title})]


def test_a_script_in_a_cell_a_title_or_a_section_is_text() -> None:
    evil = "<script>alert(1)</script>"
    parsed = ParsedPage(page(evil, evil, [Section(id="a", title=evil, body=[table([evil], [[evil]])])]))
    assert "script" not in parsed.tags
    assert parsed.text.count(evil) == 7, "in title, h1, subtitle, link, h2, th and td"


def test_a_label_that_is_markup_is_text_in_drawings_too() -> None:
    evil = '<script>x</script>"&$a_b$'
    drawings = (
        figures.confusion_matrix(np.array([[1, 2], [3, 4]]), [evil, "b"]),
        figures.scatter_by_label(np.zeros((2, 2)), [evil, "b"], np.array([True, False])),
        figures.curves([1, 2], {evil: [1.0, 2.0], "b": [2.0, 1.0]}, x_label=evil, y_label=evil),
    )
    for drawn in drawings:
        assert "<script" not in drawn
        assert "&lt;script&gt;" in drawn
        assert "currentColor" in drawn, "ink is of the colour of the page"


def test_two_drawings_on_a_page_share_no_id_and_refer_to_their_own() -> None:
    drawing = figures.curves([1, 2], {"a": [1.0, 2.0]}, x_label="x", y_label="y")
    body = [svg(drawing, "one"), svg(drawing, "two")]
    parsed = ParsedPage(page("t", "s", [Section(id="a", title="a", body=body)]))
    assert len(parsed.ids) == len(set(parsed.ids))
    assert set(parsed.references) <= set(parsed.ids)


def test_the_same_numbers_are_always_the_same_drawing() -> None:
    first, second = (figures.curves([1, 2], {"a": [1.0, 2.0]}, x_label="x", y_label="y") for _ in range(2))
    assert first == second


def test_pictures_are_within_the_page_and_have_words_for_who_cannot_see_them() -> None:
    made = picture(np.zeros((2, 3, 3), np.uint8), 'a "black" picture')
    parsed = ParsedPage(made)
    assert parsed.addresses == []
    assert 'alt="a &quot;black&quot; picture"' in made
    assert made.startswith("<img ")
    assert "</img>" not in made
