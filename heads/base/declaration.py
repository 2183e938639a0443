"""What a team declares about its head: plain frozen data, and no torch."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

from heads.base.errors import InvalidHead
from zoo.masks import MOST_MASK_LABELS
from zoo.suggest import did_you_mean

__all__ = ["Classify", "Embed", "Gate", "Head", "Multilabel", "Regress", "Segment", "Tag", "Tail", "Task"]

MOST_DIMENSIONS = 4096
"""Of an embedding: what a vector index takes."""

MOST_DETAIL = 32
"""Of a segmentation: the stride of most backbones at their last block."""

_NAME = re.compile(r"^[a-z][a-z0-9_-]{0,62}$")
_CALIBRATED = ("classify", "multilabel", "tag")
_UNSURE = ("classify", "multilabel", "regress")
_UNCERTAINTIES = ("none", "laplace", "gp")
_OF_CERTAINTY = ("ece", "nll", "ood_auroc")


@dataclass(frozen=True, slots=True, kw_only=True)
class Classify:
    """Exactly one of ``labels`` is the answer."""

    labels: tuple[str, ...]
    kind: ClassVar[str] = "classify"
    target: ClassVar[str] = "label"
    metrics: ClassVar[tuple[str, ...]] = ("macro_f1", "accuracy")

    def __post_init__(self) -> None:
        _check_labels(self.labels, least=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Multilabel:
    """Any number of ``labels`` apply, none included."""

    labels: tuple[str, ...]
    kind: ClassVar[str] = "multilabel"
    target: ClassVar[str] = "labels"
    metrics: ClassVar[tuple[str, ...]] = ("micro_f1", "macro_f1", "exact_match")

    def __post_init__(self) -> None:
        _check_labels(self.labels, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regress:
    """A value between ``low`` and ``high`` is the answer."""

    low: float
    high: float
    kind: ClassVar[str] = "regress"
    target: ClassVar[str] = "value"
    metrics: ClassVar[tuple[str, ...]] = ("mae", "spearman", "r2")
    labels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not (self.low < self.high and math.isfinite(self.high - self.low)):
            raise InvalidHead(f"Regress takes low < high, both finite; got low={self.low} and high={self.high}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tag:
    """Pieces of the text, as character spans, each with one of ``labels``."""

    labels: tuple[str, ...]
    kind: ClassVar[str] = "tag"
    target: ClassVar[str] = "spans"
    metrics: ClassVar[tuple[str, ...]] = ("f1", "precision", "recall", "exact_match")

    def __post_init__(self) -> None:
        _check_labels(self.labels, least=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    """A vector of ``dim`` numbers and length 1 is the answer; those of equal labels lie close together.

    Labels need no declaration: any name will do, also one that no training example has.
    """

    dim: int
    kind: ClassVar[str] = "embed"
    target: ClassVar[str] = "label"
    metrics: ClassVar[tuple[str, ...]] = ("recall_at_1", "map")
    labels: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        if not _is_index(self.dim) or not 2 <= self.dim <= MOST_DIMENSIONS:
            raise InvalidHead(f"Embed takes a dim from 2 to {MOST_DIMENSIONS:,}; got {self.dim!r}.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """Each pixel of an image has exactly one of ``labels``; a mask holds the label's place in them, from 0 on.

    Attributes:
        labels: at most 255.
        detail: into how many parts each side of a cell of the backbone's feature map is decided; what is finer is
            interpolated.
    """

    labels: tuple[str, ...]
    detail: int = 1
    kind: ClassVar[str] = "segment"
    target: ClassVar[str] = "mask"
    metrics: ClassVar[tuple[str, ...]] = ("mean_iou", "macro_f1", "accuracy")

    def __post_init__(self) -> None:
        _check_labels(self.labels, least=2)
        if not _is_index(self.detail) or not 1 <= self.detail <= MOST_DETAIL:
            raise InvalidHead(f"Segment takes a detail from 1 to {MOST_DETAIL}; got {self.detail!r}.")
        if len(self.labels) > MOST_MASK_LABELS:
            raise InvalidHead(
                f"Segment takes at most {MOST_MASK_LABELS} labels, as a pixel of a mask is a byte and 255 means "
                f"that it counts for nothing; got {len(self.labels)}."
            )


Task = Classify | Multilabel | Regress | Tag | Embed | Segment
"""What kind of answer a head gives. Its first metric is the one that training watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """What a version must reach on the test split to be published.

    Attributes:
        bounds: a metric (``"macro_f1"``), a label's F1 (``"f1.refund"``) or either on a slice
            (``"negation/macro_f1"``) to its lowest allowed value; for errors (``"mae"``) to its highest. A head that is
            calibrated or says how unsure it is may bound that too, over the whole split: ``"ece"`` and ``"nll"`` by
            their highest value, ``"ood_auroc"`` by its lowest.
    """

    bounds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tail:
    """The last blocks of the backbone, of which a head trains copies of its own; the ones before them stay shared.

    Attributes:
        blocks: how many, counted back from where the head is attached; ``"all"`` is every block, and what embeds the
            input before them.
        how: ``"full"`` trains every weight of them; ``"lora"`` trains low-rank additions to the linear layers of the
            blocks only, which are merged into the weights before export.
        rank: inner size of the additions.
        alpha: what they are scaled by, times the rank.

    Raises:
        InvalidHead: a value is out of range.
    """

    blocks: int | Literal["all"]
    how: Literal["full", "lora"] = "full"
    rank: int = 8
    alpha: float = 16.0

    def __post_init__(self) -> None:
        if self.blocks != "all" and (not _is_index(self.blocks) or self.blocks < 1):
            raise InvalidHead(f"'blocks' of a tail is 'all' or a number of blocks from 1 on; got {self.blocks!r}.")
        if self.how not in ("full", "lora"):
            raise InvalidHead(f"'how' of a tail is 'full' or 'lora'; got {self.how!r}.")
        if not _is_index(self.rank) or self.rank < 1:
            raise InvalidHead(f"'rank' of a tail is a whole number from 1 on; got {self.rank!r}.")
        if not 0 < self.alpha < math.inf:
            raise InvalidHead(f"'alpha' of a tail is above 0, for example 16.0; got {self.alpha!r}.")

    def describe(self) -> dict[str, Any]:
        """Return the tail as JSON: only what has an effect, so that the rest changes no build key."""
        lora = {"rank": self.rank, "alpha": self.alpha} if self.how == "lora" else {}
        return {"blocks": self.blocks, "how": self.how, **lora}


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A team's head: what it answers, where it is attached, and how good it must be.

    Attributes:
        name: how callers ask for it, and its name in the zoo.
        team: the package that owns it: ``heads/<team>``.
        backbone: name of a backbone in the zoo, or ``name@number``.
        attach: index of the last backbone stage that it builds on, or ``"last"``.
        tail: the last blocks before that point, if it trains copies of them; None leaves the whole backbone frozen.
        task: what kind of answer it gives.
        gate: what a version must reach.
        parity_tolerance: largest difference between an output of an export and of the torch model that may be
            published; raise it where outputs are large, as of a regression from 0 to 10,000.
        variant_tolerance: how much worse than in fp32 each metric of the gate may be in int8 or fp16, in its own unit,
            for a version to be served in that precision.
        calibrate: fit a temperature on the valid split, so that scores are the chance of being right; answers stay.
        uncertainty: an output of its own that says how unsure each answer is: ``"laplace"`` from the doubt about the
            last layer's weights, ``"gp"`` also from how far an input is from the training inputs.
        ood: another team, whose training inputs are measured to be told from this head's; nothing is fitted to them.

    Raises:
        InvalidHead: the declaration does not add up.

    >>> Head(name="mood", team="mood", task=Classify(labels=("good", "bad")), gate=Gate(bounds={"macro_f2": 0.5}))
    Traceback (most recent call last):
    heads.base.errors.InvalidHead: The gate of 'mood' names the metric 'macro_f2'; that is not one of
    a classify head's. Did you mean 'macro_f1'?
    """

    name: str
    team: str
    task: Task
    backbone: str = "minilm"
    attach: int | Literal["last"] = "last"
    tail: Tail | None = None
    gate: Gate = field(default_factory=Gate)
    parity_tolerance: float = 1e-4
    variant_tolerance: float = 0.01
    calibrate: bool = False
    uncertainty: Literal["none", "laplace", "gp"] = "none"
    ood: str = ""

    def __post_init__(self) -> None:
        for key, (kind, example) in _KINDS.items():
            if not isinstance(value := getattr(self, key), kind):
                raise InvalidHead(f"{key!r} of a head is {example}; got {value!r}.")
        for what, name in (("name", self.name), ("team", self.team)):
            if not _NAME.match(name):
                raise InvalidHead(
                    f"The {what} of a head is lower case, digits, '-' and '_', and starts with a letter; got {name!r}."
                )
        if self.attach != "last" and (not _is_index(self.attach) or self.attach < 0):
            raise InvalidHead(f"'attach' is 'last' or the index of a stage from 0 on; got {self.attach!r}.")
        if self.tail is not None and not isinstance(self.tail, Tail):
            raise InvalidHead(f"'tail' is a Tail, for example Tail(blocks=2), or None; got {self.tail!r}.")
        if not self.parity_tolerance > 0:
            raise InvalidHead(f"'parity_tolerance' is above 0, for example 1e-4; got {self.parity_tolerance!r}.")
        if not 0 <= self.variant_tolerance < math.inf:
            raise InvalidHead(f"'variant_tolerance' is 0 or more, for example 0.01; got {self.variant_tolerance!r}.")
        self._check_certainty()
        for bound, value in self.gate.bounds.items():
            self._check_bound(bound)
            if not isinstance(value, int | float) or not math.isfinite(value):
                raise InvalidHead(f"The gate of {self.name!r} bounds {bound!r} by {value!r}; expected a number.")

    def metric_names(self) -> tuple[str, ...]:
        """Return the metrics that this head can be measured by, each label's F1 included."""
        return (*self.task.metrics, *(f"f1.{label}" for label in self.task.labels))

    def certainty_names(self) -> tuple[str, ...]:
        """Return the metrics of its certainty that its gate may bound; none if it declares no certainty."""
        if not self.calibrate and self.uncertainty == "none":
            return ()
        return tuple(
            name
            for name in _OF_CERTAINTY
            if not (name == "ece" and self.task.kind == "regress") and not (name == "ood_auroc" and not self.ood)
        )

    def describe(self) -> dict[str, Any]:
        """Return the declaration as JSON, as digests and the build key are taken over it."""
        task: dict[str, Any] = {"kind": self.task.kind, "labels": list(self.task.labels)}
        if isinstance(self.task, Regress):
            task |= {"low": self.task.low, "high": self.task.high}
        if isinstance(self.task, Embed):
            task |= {"dim": self.task.dim}
        if isinstance(self.task, Segment):
            task |= {"detail": self.task.detail}
        return {
            "name": self.name,
            "team": self.team,
            "backbone": self.backbone,
            "attach": self.attach,
            "task": task,
            "gate": dict(self.gate.bounds),
            "parity_tolerance": self.parity_tolerance,
            "variant_tolerance": self.variant_tolerance,
            **({} if self.tail is None else {"tail": self.tail.describe()}),
            **self._describe_certainty(),
        }

    def _check_certainty(self) -> None:
        if self.calibrate and self.task.kind not in _CALIBRATED:
            raise InvalidHead(f"'calibrate' is for {', '.join(_CALIBRATED)}; {self.name!r} is a {self.task.kind} head.")
        if self.uncertainty not in _UNCERTAINTIES:
            raise InvalidHead(f"'uncertainty' is one of {', '.join(_UNCERTAINTIES)}; got {self.uncertainty!r}.")
        if self.uncertainty != "none" and self.task.kind not in _UNSURE:
            raise InvalidHead(
                f"'uncertainty' is for {', '.join(_UNSURE)}; {self.name!r} is a {self.task.kind} head. Leave it out."
            )
        if self.ood and (not _NAME.match(self.ood) or self.ood == self.team or self.task.kind not in _UNSURE):
            raise InvalidHead(
                f"'ood' is the name of another team, for a head of {', '.join(_UNSURE)}; {self.name!r} is a "
                f"{self.task.kind} head of {self.team!r}, and says {self.ood!r}."
            )
        if self.ood and not self.calibrate and self.uncertainty == "none":
            raise InvalidHead(f"{self.name!r} says 'ood' and no 'calibrate' or 'uncertainty', whose measure it is.")

    def _describe_certainty(self) -> dict[str, Any]:
        """Return only what is set, so that heads without it keep their build key."""
        declared = {"calibrate": self.calibrate, "uncertainty": self.uncertainty, "ood": self.ood}
        return {name: value for name, value in declared.items() if value not in (False, "none", "")}

    def _check_bound(self, bound: str) -> None:
        where, _, metric = bound.rpartition("/")
        certainty = self.certainty_names()
        if where and metric in certainty:
            raise InvalidHead(
                f"The gate of {self.name!r} bounds {bound!r}; {metric!r} is measured over the whole test split. Bound "
                f"{metric!r}."
            )
        if metric in _OF_CERTAINTY and metric not in certainty:
            raise InvalidHead(
                f"The gate of {self.name!r} bounds {metric!r}, which {_needed_for(metric)}; {self.name!r}, a "
                f"{self.task.kind} head, has none. Declare it, or take the bound out."
            )
        known = (*self.metric_names(), *certainty)
        if metric not in known:
            raise InvalidHead(
                f"The gate of {self.name!r} names the metric {metric!r}; that is not one of a {self.task.kind} head's."
                f"{did_you_mean(metric, known)}"
            )


_KINDS: Mapping[str, tuple[Any, str]] = {
    "name": (str, "a text such as 'mood'"),
    "team": (str, "a text such as 'mood'"),
    "task": (Task, "a task such as Classify(labels=('good', 'bad'))"),
    "backbone": (str, "the name of a backbone in the zoo, such as 'minilm'"),
    "gate": (Gate, "a gate such as Gate(bounds={'macro_f1': 0.8})"),
    "parity_tolerance": (int | float, "a number such as 1e-4"),
    "variant_tolerance": (int | float, "a number such as 0.01"),
    "calibrate": (bool, "True or False"),
    "ood": (str, "the name of another team, or ''"),
}
"""Of which type what a head declares is; a team's ``head.py`` is checked by nobody else before it runs."""


def _needed_for(metric: str) -> str:
    if metric == "ood_auroc":
        return "is of a head with 'ood'"
    return f"is of {'scores' if metric == 'ece' else 'a head'} with 'calibrate' or 'uncertainty'"


def _is_index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_labels(labels: tuple[str, ...], *, least: int) -> None:
    if isinstance(labels, str) or len(labels) < least:
        raise InvalidHead(f"'labels' takes at least {least} names; got {labels!r}.")
    if len(set(labels)) != len(labels):
        raise InvalidHead(f"'labels' names something twice: {', '.join(labels)}.")
    for label in labels:
        if not isinstance(label, str) or not label or "/" in label:
            raise InvalidHead(f"A label is a name without '/'; got {label!r}.")
