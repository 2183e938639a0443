"""The closest existing name to one that does not exist, as part of an error message."""

import difflib
from collections.abc import Iterable

__all__ = ["did_you_mean"]

_LISTED = 8


def did_you_mean(unknown: str, known: Iterable[str]) -> str:
    """Return a clause that names the closest of ``known``, or else the first few of them; starts with a space.

    >>> did_you_mean("intnet", ["intent", "urgency"])
    " Did you mean 'intent'?"
    >>> did_you_mean("ocr", ["intent", "urgency"])
    ' There is: intent, urgency.'
    >>> did_you_mean("ocr", [])
    ' There is none yet.'
    """
    names = sorted(set(known))
    if not names:
        return " There is none yet."
    if close := difflib.get_close_matches(unknown, names, n=1):
        return f" Did you mean {close[0]!r}?"
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f" There is: {', '.join(names[:_LISTED])}{more}."
