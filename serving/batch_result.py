"""What came of a batch."""

from dataclasses import dataclass, field

from serving.errors import ServingError
from serving.plan import ServedVersion
from serving.work import Answers

__all__ = ["BatchResult", "NodeRun", "VersionRun"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRun:
    """What one batch meant for one version. The times are the whole batch's, shared work included."""

    version: ServedVersion
    works: tuple[int, ...]
    """Positions in the batch of the rows that it answered, or failed on."""
    failed: bool
    input_s: float
    infer_s: float
    output_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRun:
    """One run of a node on rows of a batch; the times are by the engine's clock.

    Heads that run as one have the same times, and an entry each.
    """

    path: str
    stage: str
    """The stage's name."""
    rows: int
    """That were computed; of a head that ran together with others, those that wanted it."""
    width: int
    """Tokens of each row, padding included; 1 for an input that has none."""
    began_s: float
    ended_s: float
    seconds: float
    """What the cost model is to learn: all of the run, or its share by rows of a run together with other heads."""


@dataclass(slots=True, kw_only=True)
class BatchResult:
    """The outcome of one batch, by position in it."""

    answers: list[Answers]
    """Of each row, those of shadows among them."""
    failures: dict[int, ServingError] = field(default_factory=dict)
    """The first failure of each row that has one; other versions may have answered it."""
    version_failures: dict[tuple[int, str], ServingError] = field(default_factory=dict)
    """By position and version digest. What fails of a shadow is in the log alone."""
    dropped: set[int] = field(default_factory=set)
    """Rows that nobody wanted any more before all of their nodes had run."""
    runs: list[NodeRun] = field(default_factory=list)
    """Every node that ran, in order."""
    real_tokens: int = 0
    """Tokens of its rows."""
    padded_tokens: int = 0
    """Tokens that its first stage computed, padding included: rows times the longest."""
    version_runs: list[VersionRun] = field(default_factory=list)
