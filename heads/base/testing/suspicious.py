"""Labels that are probably wrong: by confident learning (Northcutt, Jiang & Chuang 2021), and by who lies far off.

Classes and labels are judged by the confident joint, values by their robust z-score (Iglewicz & Hoaglin 1993), and
labels of vectors by their nearest neighbours (Wilson 1972). ``suspicious_parts`` has those of tokens and of pixels.

Every example of the train and valid splits is judged by a linear head on frozen features that was fitted without it.
The test split is left out: looking for its wrong labels with a model is reading it.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from heads.base.declaration import Classify, Embed, Multilabel, Regress, Task
from heads.base.testing.findings import Finding
from heads.base.testing.tables import shown
from heads.base.testing.vectors import Placed
from zoo.labels import Example

__all__ = [
    "confident_errors",
    "each_fold",
    "out_of_sample",
    "standardised",
    "suspicious",
    "suspicious_labels",
]

_FOLDS = 5
_LOSS_WEIGHT = 10.0
"""Of the mean loss against half the squared weights of the softmax regression; see benchmarks/suspicious_labels.py."""
_FAR = 4.0
"""A value is far off from so many robust standard deviations on; of normal errors, 1 of 16,000 is."""
_LEAST_FOLD_EXAMPLES = 2
_NEIGHBOURS = 5
_AGREEING = 3
"""Of the nearest neighbours, how many agree in another label before an example's own is suspicious: most of them."""


def suspicious_labels(task: Task, placed: Placed, *, seed: int = 0) -> list[Finding]:
    """Return the examples whose label is probably wrong, the least likely first.

    Args:
        task: of the head; pieces of texts and masks have their own way.
        placed: train and valid examples with their features.
        seed: of the folds.
    """
    examples, vectors_ND = placed.examples, standardised(placed.vectors)
    if isinstance(task, Classify):
        given_N = np.array([task.labels.index(str(example.target)) for example in examples])
        return _wrong_classes(examples, task.labels, given_N, out_of_sample(vectors_ND, given_N, seed=seed))
    if isinstance(task, Multilabel):
        found = []
        for label in task.labels:
            given_N = np.array([int(label in _names(example)) for example in examples])
            names = (f"not {label}", label)
            found += _wrong_classes(examples, names, given_N, out_of_sample(vectors_ND, given_N, seed=seed))
        return found
    if isinstance(task, Regress):
        return _far_off(examples, vectors_ND, seed)
    if isinstance(task, Embed):
        return _among_strangers(examples, placed.vectors)
    return []


def confident_errors(scores_NC: NDArray[np.float64], given_N: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return (example, likelier class) of the examples off the diagonal of the confident joint, the surest first.

    A class counts as confident for an example if its probability reaches the mean probability that the examples which
    are labelled so have for it; an example is suspicious if its likeliest confident class is another than its label,
    and likelier. The order is that of the margin between the two.

    Args:
        scores_NC: out-of-sample probabilities.
        given_N: the labels, as indices of classes.

    >>> scores = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.95, 0.05], [0.2, 0.8]])
    >>> confident_errors(scores, np.array([0, 0, 1, 1, 1]))
    [(3, 0)]
    """
    classes = scores_NC.shape[1]
    means_C = np.array([scores_NC[given_N == c, c].mean() if (given_N == c).any() else np.inf for c in range(classes)])
    confident_NC = np.where(scores_NC >= means_C, scores_NC, -1.0)
    likeliest_N = confident_NC.argmax(1)
    every_N = np.arange(len(given_N))
    margin_N = scores_NC[every_N, given_N] - scores_NC[every_N, likeliest_N]
    suspicious = (confident_NC.max(1) >= 0) & (margin_N < 0)
    return [(int(row), int(likeliest_N[row])) for row in np.argsort(margin_N) if suspicious[row]]


def out_of_sample(
    vectors_ND: NDArray[np.floating],
    given_N: NDArray[np.int64],
    *,
    seed: int,
    loss_weight: float = _LOSS_WEIGHT,
    groups_N: NDArray[np.int64] | None = None,
) -> NDArray[np.float64]:
    """Return (N, C) probabilities, each by a softmax regression that was fitted without the fold of the example.

    Args:
        vectors_ND: features, each of mean 0 and variance 1.
        given_N: the labels, as indices of classes.
        seed: of the folds.
        loss_weight: how much the mean loss weighs against half the squared weights.
        groups_N: numbers from 0 on, of what must not be in two folds: the example of each token. Each row, if None.
    """
    from sklearn.linear_model import LogisticRegression

    classes = int(given_N.max()) + 1
    scores_NC = np.full((len(given_N), classes), 1.0 / classes)

    groups = np.arange(len(given_N)) if groups_N is None else groups_N

    def fit(shown: NDArray[np.int64], hidden: NDArray[np.int64]) -> None:
        train, held = np.flatnonzero(np.isin(groups, shown)), np.flatnonzero(np.isin(groups, hidden))
        known = np.unique(given_N[train])
        if len(known) > 1:
            model = LogisticRegression(C=loss_weight / len(train), max_iter=1000).fit(vectors_ND[train], given_N[train])
            scores_NC[held] = 0  # of a class that it was not shown
            scores_NC[np.ix_(held, known)] = model.predict_proba(vectors_ND[held])

    each_fold(int(groups.max()) + 1, seed, fit)
    return scores_NC


def each_fold(count: int, seed: int, fit: Callable[[NDArray[np.int64], NDArray[np.int64]], None]) -> None:
    """Call ``fit`` with the numbers below ``count`` that are shown and those that are hidden, each hidden once.

    Args:
        count: how many there are; too few make fewer folds.
        seed: of the folds.
        fit: what learns from the first and judges the second.
    """
    order = np.random.default_rng(seed).permutation(count)
    folds = min(_FOLDS, count // _LEAST_FOLD_EXAMPLES)
    for fold in range(folds):
        held = order[fold::folds]
        fit(np.setdiff1d(order, held), held)


def _wrong_classes(
    examples: Sequence[Example], names: Sequence[str], given_N: NDArray[np.int64], scores_NC: NDArray[np.float64]
) -> list[Finding]:
    if len(np.unique(given_N)) == 1:
        return []
    return [
        suspicious(
            examples[row],
            f"is labelled {names[given_N[row]]!r} (probability {scores_NC[row, given_N[row]]:.2f}) and looks like "
            f"{names[likelier]!r} ({scores_NC[row, likelier]:.2f})",
        )
        for row, likelier in confident_errors(scores_NC, given_N)
    ]


def _far_off(examples: Sequence[Example], vectors_ND: NDArray[np.float64], seed: int) -> list[Finding]:
    """Find values further from a ridge regression that never saw them than robust standard deviations explain.

    The modified z-score of Iglewicz & Hoaglin (1993), with 0 in the place of the median error.
    """
    values_N = np.array([float(str(example.target)) for example in examples])
    found_N = np.zeros_like(values_N)

    def fit(train: NDArray[np.int64], held: NDArray[np.int64]) -> None:
        mean = values_N[train].mean()
        gram_NN = vectors_ND[train] @ vectors_ND[train].T + vectors_ND.shape[1] * np.eye(len(train))
        weights_D = vectors_ND[train].T @ np.linalg.solve(gram_NN, values_N[train] - mean)
        found_N[held] = vectors_ND[held] @ weights_D + mean

    each_fold(len(values_N), seed, fit)
    error_N = np.abs(values_N - found_N)
    spread = 1.4826 * float(np.median(error_N))  # of normal errors, the standard deviation
    rows = [int(row) for row in np.argsort(-error_N) if error_N[row] > _FAR * spread]
    return [
        suspicious(examples[row], f"has the value {values_N[row]:g} and looks like {found_N[row]:.1f}") for row in rows
    ]


def _among_strangers(examples: Sequence[Example], vectors_ND: NDArray[np.float64]) -> list[Finding]:
    """Find examples none of whose nearest neighbours has their label, while most of these agree in another one.

    The edited nearest neighbour rule (Wilson 1972), made stricter. No example is its own neighbour, and nothing is
    fitted, so that each is judged by the others alone. One of a label has no neighbour of it, and is left out.
    """
    units_ND = vectors_ND / np.maximum(np.linalg.norm(vectors_ND, axis=1, keepdims=True), 1e-12)
    labels = np.array([str(example.target) for example in examples])
    found: list[tuple[int, float, int, str]] = []
    for row in range(len(examples)):
        cosine_N = units_ND @ units_ND[row]
        cosine_N[row] = -np.inf
        near = np.argsort(-cosine_N, kind="stable")[: min(_NEIGHBOURS, len(examples) - 1)]
        names, counts = np.unique(labels[near], return_counts=True)
        most = int(counts.argmax())
        if labels[row] not in names and counts[most] >= _AGREEING and (labels == labels[row]).sum() > 1:
            found.append((-int(counts[most]), -float(cosine_N[near[0]]), row, str(names[most])))
    return [
        suspicious(
            examples[row],
            f"is labelled {str(labels[row])!r}, which none of its {_NEIGHBOURS} nearest neighbours is; {-agreeing} of "
            f"them are {name!r}",
        )
        for agreeing, _, row, name in sorted(found)
    ]


def suspicious(example: Example, said: str) -> Finding:
    """Return the finding that an example's label wants to be looked at, and why."""
    return Finding(
        severity="warning",
        kind="suspicious label",
        ids=(example.id,),
        text=f"{example.id} ({example.split}) {shown(example.text or example.image)!r} {said}. Look at it.",
    )


def _names(example: Example) -> tuple[str, ...]:
    assert isinstance(example.target, tuple)
    return tuple(str(name) for name in example.target)


def standardised(vectors_ND: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return features of mean 0 and variance 1; those that do not vary stay 0."""
    spread_D = vectors_ND.std(0)
    return np.asarray((vectors_ND - vectors_ND.mean(0)) / np.where(spread_D > 0, spread_D, 1))
