"""What a team expects of its head, in the manner of Ribeiro et al. 2020 ("Beyond Accuracy: CheckList").

Each function asks the model about all inputs at once, and raises ``ExpectationMissed`` with the counterexamples in a
table if too few hold. Rates are compared as they were found; the interval beside them says how far to trust them.
"""

from collections.abc import Sequence

from heads.base.testing.answers import Expected, agree, fits, read, score_of
from heads.base.testing.model import Asked
from heads.base.testing.perturbations import Change
from heads.base.testing.rates import Rate
from heads.base.testing.tables import as_table, shown

__all__ = ["ExpectationMissed", "directional", "invariance", "minimum_functionality"]

Inputs = Sequence[str | bytes]


class ExpectationMissed(AssertionError):
    """Too few inputs are answered as expected; the text shows those that are not."""


def minimum_functionality(model: Asked, inputs: Inputs, expected: Expected, *, at_least: float = 1.0) -> Rate:
    """Expect one answer to simple inputs, which nobody could excuse to be answered otherwise.

    Args:
        model: answers inputs.
        inputs: at least one.
        expected: a label, labels, (lowest, highest), {piece: label}, or a function of the answer.
        at_least: the share that has to be so.

    Returns:
        The share that is.

    Raises:
        ExpectationMissed: fewer are.
    """
    __tracebackhide__ = True  # pytest then shows the line of the team's test
    _check_inputs(inputs, at_least)
    answers = model(inputs)
    failed = [
        (shown(raw), read(answer)) for raw, answer in zip(inputs, answers, strict=True) if not fits(answer, expected)
    ]
    wanted = "as the function says" if callable(expected) else repr(expected)
    return _held(len(inputs), failed, at_least, f"should be answered {wanted}", ("input", "answer"))


def invariance(model: Asked, inputs: Inputs, *changes: Change, at_least: float = 1.0, within: float = 0.0) -> Rate:
    """Expect that changes which mean nothing leave answers as they are.

    Args:
        model: answers inputs.
        inputs: at least one.
        changes: typos, casing, … ; each is applied alone, and an input that it leaves as it is isn't counted.
        at_least: the share of changed inputs whose answer has to stay.
        within: how far a value may move, and still be the same.

    Returns:
        The share that stays.

    Raises:
        ExpectationMissed: fewer stay.
        ValueError: the changes change none of the inputs.
    """
    __tracebackhide__ = True
    _check_inputs(inputs, at_least)
    pairs = _changed(inputs, changes)
    before = model([raw for raw, _ in pairs])
    after = model([new for _, new in pairs])
    failed = [
        (shown(raw), shown(new), read(one), read(other))
        for (raw, new), one, other in zip(pairs, before, after, strict=True)
        if not agree(one, other, within=within)
    ]
    columns = ("input", "changed", "answer", "changed answer")
    return _held(len(pairs), failed, at_least, f"should be answered as before {_name(changes)}", columns)


def directional(
    model: Asked,
    inputs: Inputs,
    change: Change,
    *,
    rises: str = "",
    falls: str = "",
    by: float = 0.0,
    at_least: float = 1.0,
) -> Rate:
    """Expect that a change which means something moves a score or a value the right way.

    Args:
        model: answers inputs.
        inputs: at least one.
        change: of an input; one that it leaves as it is isn't counted.
        rises: the label whose score should rise, or ``"value"``; either this or ``falls``.
        falls: the label whose score should fall, or ``"value"``.
        by: by more than this; below 0 to allow a little movement the wrong way.
        at_least: the share that has to move so.

    Returns:
        The share that does.

    Raises:
        ExpectationMissed: fewer do.
        ValueError: both or none of ``rises`` and ``falls``, a label unknown to the head, or nothing is changed.
    """
    __tracebackhide__ = True
    _check_inputs(inputs, at_least)
    if bool(rises) == bool(falls):
        raise ValueError(f"directional takes either rises= or falls=; got rises={rises!r} and falls={falls!r}.")
    what, sign = (rises, 1) if rises else (falls, -1)
    pairs = _changed(inputs, (change,))
    before = [score_of(answer, what) for answer in model([raw for raw, _ in pairs])]
    after = [score_of(answer, what) for answer in model([new for _, new in pairs])]
    failed = [
        (shown(raw), shown(new), f"{old:.3f}", f"{now:.3f}")
        for (raw, new), old, now in zip(pairs, before, after, strict=True)
        if not sign * (now - old) > by
    ]
    said = f"{what!r} should {'rise' if rises else 'fall'} by more than {by:g} {_name((change,))}"
    return _held(len(pairs), failed, at_least, said, ("input", "changed", what, f"{what} changed"))


def _check_inputs(inputs: Inputs, at_least: float) -> None:
    if isinstance(inputs, str | bytes) or not inputs:
        raise ValueError(f"An expectation takes a list of at least one input; got {inputs!r}.")
    if not 0 <= at_least <= 1:
        raise ValueError(f"'at_least' is a share from 0 to 1; got {at_least!r}.")


def _changed(inputs: Inputs, changes: Sequence[Change]) -> list[tuple[str | bytes, str | bytes]]:
    pairs = [(raw, new) for change in changes for raw in inputs if (new := change(raw)) != raw]
    if not pairs:
        raise ValueError(
            f"None of {len(inputs)} inputs is different {_name(changes)}, so nothing would be tested. Give inputs that "
            "have what is changed."
        )
    return pairs


def _name(changes: Sequence[Change]) -> str:
    return (
        f"after {', '.join(getattr(change, 'name', getattr(change, '__name__', 'the change')) for change in changes)}"
    )


def _held(count: int, failed: Sequence[Sequence[str]], at_least: float, said: str, columns: Sequence[str]) -> Rate:
    __tracebackhide__ = True
    rate = Rate(count - len(failed), count)
    if rate.share < at_least:
        raise ExpectationMissed(
            f"{said[0].upper()}{said[1:]}.\nFound {rate}, expected at least {at_least:g}. The others:\n"
            f"{as_table(columns, failed)}"
        )
    return rate
