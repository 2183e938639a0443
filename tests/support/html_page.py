"""A page taken apart by the standard library's parser: its tags, ids, texts, and whatever it would load."""

from html.parser import HTMLParser

__all__ = ["ParsedPage"]

_VOID = {"meta", "img", "br", "link", "input"}


class ParsedPage(HTMLParser):
    """What is on a page.

    Attributes:
        tags: every tag that occurs.
        ids: every id, in order.
        references: ids that links and drawings within the page lead to.
        addresses: what would be loaded from elsewhere.
        text: all text, without that of styles.
        sections: text of each section, by its id.
        unclosed: tags that were opened and not closed.
    """

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.references: list[str] = []
        self.addresses: list[str] = []
        self.text = ""
        self.sections: dict[str, str] = {}
        self.unclosed: list[str] = []
        self._section = ""
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))
        if tag not in _VOID:
            self.unclosed.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._note(tag, dict(attrs))

    def handle_endtag(self, tag: str) -> None:
        assert self.unclosed, f"</{tag}> closes nothing"
        assert self.unclosed[-1] == tag, f"</{tag}> closes <{self.unclosed[-1]}>"
        self.unclosed.pop()
        if tag == "section":
            self._section = ""

    def handle_data(self, data: str) -> None:
        if "style" in self.unclosed:
            return
        self.text += data
        if self._section:
            self.sections[self._section] += data

    def _note(self, tag: str, attributes: dict[str, str | None]) -> None:
        self.tags.add(tag)
        if name := attributes.get("id"):
            self.ids.append(name)
        if tag == "section":
            self._section = attributes["id"] or ""
            self.sections[self._section] = ""
        for key in ("src", "href", "xlink:href"):
            value = attributes.get(key) or ""
            if value.startswith("#"):
                self.references.append(value[1:])
            elif value and not value.startswith("data:image/"):
                self.addresses.append(value)
