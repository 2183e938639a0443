"""One line for a person out of a typed answer."""

from hydrazoo.client import Classification, Multilabel, Regression, Tagging

__all__ = ["describe"]


def describe(answer: Classification | Multilabel | Regression | Tagging) -> str:
    """Return a typed answer as one line of text.

    >>> describe(Regression(value=7.25, low=0.0, high=10.0))
    '7.2 of 10'
    """
    match answer:
        case Classification():
            return f"{answer.label} ({max(answer.scores.values()):.0%})"
        case Multilabel():
            return ", ".join(f"{label} ({answer.scores[label]:.0%})" for label in answer.labels) or "none"
        case Regression():
            return f"{answer.value:.1f} of {answer.high:g}"
        case Tagging():
            return ", ".join(f"{span.label} “{span.text}”" for span in answer.spans) or "none"
