"""The DejaVu faces: where their files are, what style each has, and which are held out of pre-training."""

import functools
import unicodedata
from dataclasses import dataclass
from pathlib import Path

__all__ = ["FACES", "HELD_OUT_SCRIPTS", "STYLES", "Face", "characters_of", "face_file", "is_held_out", "letters_of"]

STYLES = ("bold", "italic", "mono", "serif")
"""What is told of a face besides its glyphs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """A font file of matplotlib's, and its style.

    Attributes:
        name: the file's name without its ending.
        held_out: pre-training never sees it.
    """

    name: str
    bold: bool = False
    italic: bool = False
    mono: bool = False
    serif: bool = False
    held_out: bool = False

    def styles(self) -> tuple[bool, ...]:
        """Return whether each of ``STYLES`` applies."""
        return self.bold, self.italic, self.mono, self.serif


# Held out is one face of each of two families: its weight and its slant were seen there, but not together.
FACES = (
    Face(name="DejaVuSans"),
    Face(name="DejaVuSans-Bold", bold=True),
    Face(name="DejaVuSans-Oblique", italic=True),
    Face(name="DejaVuSans-BoldOblique", bold=True, italic=True),
    Face(name="DejaVuSansDisplay"),
    Face(name="DejaVuSansMono", mono=True),
    Face(name="DejaVuSansMono-Bold", mono=True, bold=True),
    Face(name="DejaVuSansMono-Oblique", mono=True, italic=True),
    Face(name="DejaVuSansMono-BoldOblique", mono=True, bold=True, italic=True, held_out=True),
    Face(name="DejaVuSerif", serif=True),
    Face(name="DejaVuSerif-Bold", serif=True, bold=True),
    Face(name="DejaVuSerif-Italic", serif=True, italic=True),
    Face(name="DejaVuSerif-BoldItalic", serif=True, bold=True, italic=True, held_out=True),
    Face(name="DejaVuSerifDisplay", serif=True),
)

HELD_OUT_SCRIPTS = {
    "Armenian": ((0x0530, 0x058F), (0xFB13, 0xFB17)),
    "Georgian": ((0x10A0, 0x10FF), (0x2D00, 0x2D2F)),
    "Hebrew": ((0x0590, 0x05FF), (0xFB1D, 0xFB4F)),
    "Lao": ((0x0E80, 0x0EFF),),
}
"""Scripts that pre-training never sees, as ranges of code points, both ends included."""


_CYRILLIC_ENDS = 0x0530


def is_held_out(character: str) -> bool:
    """Return whether a character is of a script that pre-training never sees.

    >>> is_held_out("a"), is_held_out("ա")
    (False, True)
    """
    ranges = (pair for pairs in HELD_OUT_SCRIPTS.values() for pair in pairs)
    return any(first <= ord(character) <= last for first, last in ranges)


def face_file(name: str) -> Path:
    """Return the file of one of matplotlib's fonts, e.g. ``DejaVuSans``."""
    return _font_folder() / f"{name}.ttf"


@functools.cache
def characters_of(name: str) -> tuple[str, ...]:
    """Return the characters that a font has a glyph for, in order of code point."""
    from matplotlib.ft2font import FT2Font

    return tuple(chr(code) for code in sorted(FT2Font(str(face_file(name))).get_charmap()))


def letters_of(name: str) -> tuple[str, ...]:
    """Return the letters and digits of a font that are Latin, Greek or Cyrillic, or of a held-out script."""
    return tuple(character for character in characters_of(name) if _is_known(character) or is_held_out(character))


def _is_known(character: str) -> bool:
    return ord(character) < _CYRILLIC_ENDS and unicodedata.category(character)[0] in "LN"


@functools.cache
def _font_folder() -> Path:
    import matplotlib as mpl

    return Path(mpl.get_data_path()) / "fonts" / "ttf"
