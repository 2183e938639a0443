"""Changes of texts that a good head does not mind: typos, casing, spaces, punctuation, other names and numbers."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

__all__ = ["Change", "Perturbation", "append", "casing", "names", "numbers", "punctuation", "spaces", "typos"]

Change = Callable[[str | bytes], str | bytes]
"""Makes another input out of one; what it returns unchanged is not counted."""

_NAMES = (
    "Aisha|Alejandro|Amara|Anna|Ben|Carlos|Chen|Dana|David|Elena|Emma|Fatima|Gustav|Hannah|Ingrid|James|John|Julia|"
    "Kofi|Laura|Liam|Lucia|Maria|Mark|Mei|Michael|Miguel|Mohammed|Nadia|Noah|Olga|Oliver|Omar|Paul|Peter|Priya|"
    "Rachel|Ravi|Robert|Sarah|Sofia|Thomas|Tomasz|Wei|Yuki|Zoe"
)
_NAME = re.compile(rf"\b({_NAMES})\b")
_LONG_WORD = re.compile(r"[^\W\d_]{4,}")
_DIGITS = re.compile(r"\d+")
_END = re.compile(r"[.!?…]*\s*$")
_INNER = re.compile(r"[,;:]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Perturbation:
    """A random change, the same for the same input and seed whatever else is changed.

    Attributes:
        name: for tables.
        seed: another seed, other changes.
        change: from an input and a source of chance to the changed input.
    """

    name: str
    seed: int
    change: Callable[[str, Random], str]

    def __call__(self, raw: str | bytes) -> str:
        """Return the changed text.

        Raises:
            TypeError: the input is an image.
        """
        if not isinstance(raw, str):
            raise TypeError(f"{self.name} changes texts, and this input is an image; there are rotated and brighter.")
        # Through repr: a text may hold half of a surrogate pair, which has no bytes to seed with.
        return self.change(raw, Random(f"{self.seed} {self.name} {raw!r}"))  # noqa: S311 - keeps no secret


def typos(*, seed: int = 0, count: int = 1) -> Perturbation:
    """Return a change that makes slips of the finger: in ``count`` words, a letter is doubled, lost or swapped.

    Args:
        seed: of chance.
        count: how many words, of those with four letters or more.

    >>> typos(seed=1)("Where is my parcel?")
    'Where is my parceel?'
    """

    def change(text: str, chance: Random) -> str:
        words = list(_LONG_WORD.finditer(text))
        for word in sorted(chance.sample(words, min(count, len(words))), key=lambda word: -word.start()):
            text = text[: word.start()] + _slip(word[0], chance) + text[word.end() :]
        return text

    return Perturbation(name="typos", seed=seed, change=change)


def _slip(word: str, chance: Random) -> str:
    """Change one letter behind the first: readers look at that one most."""
    place = chance.randrange(1, len(word) - 1)
    return chance.choice(
        (
            f"{word[:place]}{word[place]}{word[place:]}",
            f"{word[:place]}{word[place + 1 :]}",
            f"{word[:place]}{word[place + 1]}{word[place]}{word[place + 2 :]}",
        )
    )


def casing(how: Literal["lower", "upper", "title"] = "lower") -> Perturbation:
    """Return a change of all letters to one case.

    >>> casing("upper")("Hello there.")
    'HELLO THERE.'
    """
    return Perturbation(name=f"casing {how}", seed=0, change=lambda text, _chance: getattr(text, how)())


def spaces(*, seed: int = 0) -> Perturbation:
    """Return a change that adds spaces: one more at some gaps, and some around the text.

    >>> spaces(seed=0)("one two").split()
    ['one', 'two']
    """

    def change(text: str, chance: Random) -> str:
        gaps = re.sub(" ", lambda _gap: " " * chance.choice((1, 2, 3)), text)
        return " " * chance.randint(0, 2) + gaps + " " * chance.randint(1, 2)

    return Perturbation(name="spaces", seed=seed, change=change)


def punctuation(*, seed: int = 0) -> Perturbation:
    """Return a change of the punctuation: another end (none, a full stop, three of them), and no commas.

    Exclamation and question marks are left out of it: they can mean something.

    >>> punctuation(seed=0)("Well, it broke.")
    'Well it broke'
    """

    def change(text: str, chance: Random) -> str:
        end = "" if any(mark in text for mark in "!?") else chance.choice(("", "...", " ."))
        kept = text.rstrip() if any(mark in text for mark in "!?") else _END.sub("", text)
        return _INNER.sub("", kept) + end

    return Perturbation(name="punctuation", seed=seed, change=change)


def names(*, seed: int = 0) -> Perturbation:
    """Return a change of first names, of a list of common ones of many places, to others of the list.

    >>> names(seed=0)("Please ask Maria.") != "Please ask Maria."
    True
    """

    def change(text: str, chance: Random) -> str:
        return _NAME.sub(lambda found: chance.choice([name for name in _NAMES.split("|") if name != found[0]]), text)

    return Perturbation(name="names", seed=seed, change=change)


def numbers(*, seed: int = 0) -> Perturbation:
    """Return a change of every run of digits to another of the same length.

    >>> len(numbers(seed=0)("order 4711"))
    10
    """

    def other(digits: str, chance: Random) -> str:
        first = chance.choice([digit for digit in "123456789" if digit != digits[0]])
        return first + "".join(chance.choice("0123456789") for _ in digits[1:])

    return Perturbation(
        name="numbers", seed=seed, change=lambda text, chance: _DIGITS.sub(lambda run: other(run[0], chance), text)
    )


def append(more: str) -> Perturbation:
    """Return a change that writes more behind the text.

    >>> append(" Somebody is hurt!")("The shelf fell.")
    'The shelf fell. Somebody is hurt!'
    """
    return Perturbation(name=f"append {more.strip()!r}", seed=0, change=lambda text, _chance: text + more)
