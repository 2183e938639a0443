"""What must be true of every labels file, whatever it labels: read from the file alone, in a moment."""

import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence

from heads.base.declaration import Head, Regress, Segment, Task
from heads.base.fit import check_labels
from heads.base.packages import load_package
from heads.base.testing.expectations import ExpectationMissed
from heads.base.testing.findings import Finding, Severity, as_text
from heads.base.testing.tables import shown
from zoo.labels import Example, Labels, labels_in

__all__ = ["all_examples", "examine_labels", "labels_hold"]

_QUARTERS = 4


def labels_hold(
    head: Head,
    *,
    train: int = 2,
    test: int = 1,
    slices: Collection[str] = (),
    slice_examples: int = 10,
    near: Severity = "error",
) -> None:
    """Expect that a head's labels and recipe read, fit its declaration, and are enough to learn and to test from.

    Args:
        head: the declaration.
        train: how many training examples each label has at least, or each quarter of a scale.
        test: how many test examples.
        slices: what the test split has to have, beside the slices that the gate bounds.
        slice_examples: how many test examples each of them has at least.
        near: what it is if an input is in two splits, but for casing, punctuation and spaces.

    Raises:
        ExpectationMissed: something is an error; the text lists all.
        InvalidHead: the labels do not fit the declaration.
        InvalidLabels: they do not parse.
        InvalidRecipe: the recipe does not.
    """
    __tracebackhide__ = True
    package = load_package(head.team)
    package.recipe()
    labels = package.labels()
    found = examine_labels(head, labels, train=train, test=test, near=near)
    found += _few_in_slices(head, labels, slices, slice_examples, "error")
    if errors := [each for each in found if each.severity == "error"]:
        raise ExpectationMissed(f"{labels.path}:\n{as_text(errors)}")


def examine_labels(
    head: Head, labels: Labels, *, train: int = 2, test: int = 1, near: Severity = "error"
) -> list[Finding]:
    """Return what is to be said about a labels file, the worst first.

    Args:
        head: the declaration that it belongs to.
        labels: the file.
        train: see ``labels_hold``.
        test: see ``labels_hold``.
        near: see ``labels_hold``.

    Raises:
        InvalidHead: the labels do not fit the declaration.
    """
    check_labels(head, labels)
    examples = all_examples(labels)
    return [
        *_twice(examples, near),
        *_few(head.task, examples, {"train": train, "test": test}),
        *_few_in_slices(head, labels, (), 10, "warning"),
        *_ids(examples),
    ]


def all_examples(labels: Labels) -> tuple[Example, ...]:
    """Return the examples of all splits, to check the file and not to measure a head."""
    known = labels.for_training()
    return (*known.train, *known.valid, *labels.for_gate())


def _twice(examples: Sequence[Example], near: Severity) -> Iterator[Finding]:
    """Find inputs of one split that are in another too, but for what nobody would call a difference."""
    seen: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        seen[example.image or _plain(example.text)].append(example)
    for key, same in seen.items():
        if key and len({example.split for example in same}) > 1:
            ids = tuple(example.id for example in same)
            places = ", ".join(f"{example.id} ({example.split})" for example in same)
            yield Finding(
                severity=near,
                kind="twice",
                ids=ids,
                text=f"{places}: {shown(same[0].text or same[0].image)!r}. Keep one, or move all to one split.",
            )


def _plain(text: str) -> str:
    """Return the letters and digits of a text, in one case and one form.

    >>> _plain("Where's my parcel?!") == _plain("WHERES MY parcel")
    True
    """
    return "".join(sign for sign in unicodedata.normalize("NFKC", text).casefold() if sign.isalnum())


def _few(task: Task, examples: Sequence[Example], least: dict[str, int]) -> Iterator[Finding]:
    """Find labels with too few examples in a split: one that is seen once is learned by heart."""
    names = _groups(task)
    counts = {split: Counter[str]() for split in ("train", "valid", "test")}
    for example in examples:
        counts[example.split].update(_groups_of(task, example))
    for name in names:
        for split, wanted in least.items():
            if counts[split][name] < wanted:
                yield Finding(
                    severity="error",
                    kind="few examples",
                    ids=tuple(each.id for each in examples if each.split == split and name in _groups_of(task, each)),
                    text=f"{name!r} has {counts[split][name]} {split} examples, expected at least {wanted}.",
                )
        if not counts["valid"][name]:
            yield Finding(
                severity="warning",
                kind="few examples",
                ids=(),
                text=f"{name!r} has no valid example, so nothing about it can be chosen. Move one there.",
            )


def _groups(task: Task) -> tuple[str, ...]:
    """Return what there should be enough of: labels, or quarters of a scale."""
    if isinstance(task, Segment):
        return ()  # which labels a mask has, its pixels say
    if not isinstance(task, Regress):
        return task.labels
    step = (task.high - task.low) / _QUARTERS
    return tuple(f"{task.low + step * place:g} to {task.low + step * (place + 1):g}" for place in range(_QUARTERS))


def _groups_of(task: Task, example: Example) -> Collection[str]:
    if not isinstance(task, Regress):
        return labels_in(example.target)
    assert isinstance(example.target, float)
    place = int((example.target - task.low) / (task.high - task.low) * _QUARTERS)
    return (_groups(task)[min(place, _QUARTERS - 1)],)


def _few_in_slices(
    head: Head, labels: Labels, wanted: Collection[str], least: int, severity: Severity
) -> list[Finding]:
    counts = Counter(name for example in labels.for_gate() for name in example.slices)
    bounded = {where for bound in head.gate.bounds if (where := bound.rpartition("/")[0])}
    return [
        Finding(
            severity=severity,
            kind="few examples",
            ids=(),
            text=f"the slice {name!r} has {counts[name]} test examples, expected at least {least}: a bound on so few "
            "says little. Write more.",
        )
        for name in sorted(bounded | set(wanted))
        if counts[name] < least
    ]


def _ids(examples: Sequence[Example]) -> Iterator[Finding]:
    """Find ids that a network could read, and ids that give the label away."""
    inside = [example for example in examples if example.text and example.id in example.text]
    if inside:
        yield Finding(
            severity="error",
            kind="id in input",
            ids=tuple(example.id for example in inside),
            text=f"{len(inside)} texts contain their own id, the first {inside[0].id!r}: a head may read it.",
        )
    naming = [example for example in examples if any(_names(example.id, name) for name in labels_in(example.target))]
    if naming:
        yield Finding(
            severity="note",
            kind="id names label",
            ids=(),
            text=f"{len(naming)} of {len(examples)} ids name their label, as {naming[0].id!r}: hide ids from whoever "
            "labels again, and never make a file name of one that a head could be given.",
        )


def _names(example_id: str, label: str) -> bool:
    return len(label) > 1 and _plain(label) in _plain(example_id)
