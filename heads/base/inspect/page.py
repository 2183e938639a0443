"""HTML that is safe by construction: text is escaped unless it was made here, and the page loads nothing.

``element`` builds every tag. A plain ``str`` is text and is escaped; only an ``Html``, which ``element`` and the two
functions for pictures return, goes in as it is. So nobody has to remember to escape what a user wrote.
"""

import base64
import html
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["Html", "Section", "element", "page", "picture", "svg", "table"]


class Html(str):
    """Markup that is whole and safe: whatever it holds of others was escaped when it was made."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """A part of the page.

    Attributes:
        id: what links lead to.
        title: its heading.
        body: what is in it.
    """

    id: str
    title: str
    body: Sequence[Html]


def element(name: str, *children: str, **attributes: str) -> Html:
    """Return one element.

    Args:
        name: of the tag.
        children: text, which is escaped, or ``Html``.
        attributes: by name; ``class_`` stands for ``class``, and ``_`` for ``-``.

    >>> element("p", "a < b", element("b", "c"), class_="x")
    '<p class="x">a &lt; b<b>c</b></p>'
    """
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value, quote=True)}"' for key, value in attributes.items()
    )
    inner = "".join(child if isinstance(child, Html) else html.escape(child, quote=False) for child in children)
    return Html(f"<{name}{given}>{inner}</{name}>")


def table(
    columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = (), class_: str = ""
) -> Html:
    """Return a table whose header stays in sight while it scrolls.

    Args:
        columns: their titles.
        rows: cells, as text or ``Html``.
        numbers: which columns hold numbers, and stand to the right.
        class_: of the table.
    """
    right = set(numbers)
    head = element("tr", *(_cell("th", title, place in right, scope="col") for place, title in enumerate(columns)))
    body = [element("tr", *(_cell("td", cell, place in right) for place, cell in enumerate(row))) for row in rows]
    whole = element("table", element("thead", head), element("tbody", *body), class_=class_)
    return element("div", whole, class_="scroll", tabindex="0")


def picture(pixels_HWC: NDArray[np.uint8], alt: str, *, class_: str = "") -> Html:
    """Return an image as PNG within the page.

    Args:
        pixels_HWC: (H, W, 3) or (H, W, 4) uint8.
        alt: what it shows, for those who cannot see it.
        class_: of the element.
    """
    file = io.BytesIO()
    Image.fromarray(pixels_HWC).save(file, format="PNG", optimize=True)
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    height, width = pixels_HWC.shape[:2]
    return Html(
        element("img", src=source, alt=alt, width=str(width), height=str(height), class_=class_).removesuffix("</img>")
    )


def svg(drawn: str, prefix: str) -> Html:
    """Return a drawing to stand in a page beside others.

    Args:
        drawn: an SVG document that we made ourselves.
        prefix: put before each of its ids, which must be one of a kind in a page.
    """
    inner = drawn[drawn.index("<svg") :]
    inner = re.sub(r"<metadata>.*?</metadata>", "", inner, flags=re.DOTALL)
    points = float(re.search(r'width="([0-9.]+)pt"', inner)[1])  # type: ignore[index] # matplotlib always writes it
    size = f'style="max-width: {points / 72 * _PIXELS_AN_INCH:.0f}px"'
    inner = re.sub(r'width="[0-9.]+pt"', size, re.sub(r'height="[0-9.]+pt"', 'role="img"', inner, count=1), count=1)
    inner = re.sub(r'\bid="', f'id="{prefix}-', inner)
    inner = re.sub(r"url\(#", f"url(#{prefix}-", inner)
    return Html(re.sub(r'href="#', f'href="#{prefix}-', inner).strip())


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """Return the whole document: links to the sections, and the sections.

    Args:
        title: of the page.
        subtitle: a line below it.
        sections: in order.
    """
    links = [element("a", section.title, href=f"#{section.id}") for section in sections]
    head = element(
        "head",
        Html('<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'),
        # A page that runs and loads nothing: a slip in what is above would still do no harm.
        Html(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        Html('<meta name="color-scheme" content="light dark">'),
        element("title", title),
        element("style", Html(_STYLE)),
    )
    body = element(
        "body",
        element("header", element("h1", title), element("p", subtitle)),
        element("nav", *links, aria_label="Sections"),
        element(
            "main",
            *(
                element("section", element("h2", section.title), *section.body, id=section.id, class_="part")
                for section in sections
            ),
        ),
    )
    return f'<!doctype html>\n<html lang="en">{head}{body}</html>\n'


def _cell(name: str, content: str, is_number: bool, **attributes: str) -> Html:
    return element(name, content, **attributes, **({"class_": "number"} if is_number else {}))


_PIXELS_AN_INCH = 100

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

_STYLE = """
:root { color-scheme: light dark; --ink: #1c2330; --soft: #5b6575; --paper: #fbfbfa; --card: #ffffff; --line: #dfe2e7;
  --accent: #2563ad; --good: #1d7a4f; --bad: #b3372f; --for: 37, 99, 173; --against: 201, 92, 22; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --soft: #9aa5b5; --paper: #14181f; --card: #1b212b;
  --line: #323b49; --accent: #7db4f0; --good: #62c796; --bad: #f08a80; --for: 96, 165, 250; --against: 251, 146, 60; } }
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.5rem; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
header, main { max-width: 72rem; margin: 0 auto; padding: 0 1rem; }
header { padding-top: 1.5rem; }
h1 { margin: 0; font-size: 1.7rem; line-height: 1.2; }
h2 { margin: 0 0 .6rem; font-size: 1.2rem; }
h3 { margin: 1.2rem 0 .4rem; font-size: 1rem; }
header p, figcaption, .soft { color: var(--soft); }
header p { margin: .3rem 0 1rem; overflow-wrap: anywhere; }
nav { position: sticky; top: 0; z-index: 3; display: flex; gap: .2rem; overflow-x: auto; padding: .5rem 1rem;
  background: var(--paper); border-bottom: 1px solid var(--line); justify-content: safe center; }
nav a { flex: none; padding: .15rem .6rem; border-radius: 1rem; color: var(--accent); text-decoration: none;
  font-size: .9rem; }
nav a:hover, nav a:focus-visible { background: var(--line); }
@media (min-width: 60rem) { nav { flex-wrap: wrap; } html { scroll-padding-top: 5.5rem; } }
.part { margin: 1.2rem 0; padding: 1.1rem 1.2rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .6rem; }
.remark { border-left: 4px solid var(--against, orange); border-color: rgb(var(--against)); padding: .2rem .8rem; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem 1.5rem; }
.figures.small { grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); }
figure { margin: 0; min-width: 0; }
figure svg { display: block; width: 100%; height: auto; color: var(--ink); }
figcaption { font-size: .9rem; max-width: 44rem; margin-top: .3rem; }
.scroll { overflow: auto; max-height: 75vh; border: 1px solid var(--line); border-radius: .4rem; margin: .5rem 0; }
table { border-collapse: separate; border-spacing: 0; width: 100%; font-size: .92rem; }
th, td { padding: .35rem .7rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line); }
th { position: sticky; top: 0; z-index: 1; background: var(--card); white-space: nowrap; font-weight: 600; }
tbody tr:last-child > * { border-bottom: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.facts th { position: static; vertical-align: top; width: 1%; }
.recipe { display: grid; grid-template-columns: repeat(auto-fill, minmax(11.5rem, 1fr)); gap: .1rem 1.5rem; margin: 0; }
.recipe div { display: flex; justify-content: space-between; gap: .6rem; border-bottom: 1px solid var(--line); }
.recipe dt { color: var(--soft); } .recipe dd { margin: 0; overflow-wrap: anywhere; text-align: right; }
.facts td { overflow-wrap: anywhere; }
code, .digest { font: .88em ui-monospace, monospace; overflow-wrap: anywhere; }
td .digest { display: inline-block; min-width: 8.5rem; }
.text { min-width: 14rem; white-space: pre-wrap; overflow-wrap: anywhere; }
.good { color: var(--good); } .bad { color: var(--bad); }
.tokens { line-height: 1.9; white-space: pre-wrap; overflow-wrap: anywhere; margin: .2rem 0; }
.tokens span { border-radius: .2rem; padding: .12rem 0; }
.for { background: rgba(var(--for), var(--strength)); }
.against { background: rgba(var(--against), var(--strength)); }
.key span { padding: .1rem .5rem; border-radius: .2rem; margin-right: .4rem; }
.example { border-top: 1px solid var(--line); padding: .6rem 0; }
.example p { margin: .1rem 0; }
.images { display: grid; grid-template-columns: repeat(auto-fill, minmax(10rem, 1fr)); gap: 1rem; }
.images p { margin: .1rem 0; font-size: .88rem; overflow-wrap: anywhere; }
img { max-width: 100%; height: auto; border-radius: .3rem; background: #8884; }
img.pixels { image-rendering: pixelated; min-width: 4rem; }
.masks { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 27rem), 1fr)); gap: .6rem 1.5rem; }
.quad { display: grid; grid-template-columns: repeat(4, 1fr); gap: .3rem; }
.quad img { width: 100%; image-rendering: pixelated; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .3rem; }
.pair img { width: 100%; image-rendering: pixelated; }
@media (max-width: 40rem) { .part { padding: .9rem .8rem; margin: .8rem 0; } main, header { padding: 0 .6rem; }
  header { padding-top: 1rem; } nav { justify-content: start; } th, td { padding: .3rem .5rem; } }
@media print { nav { display: none; } .scroll { max-height: none; overflow: visible; } }
"""
