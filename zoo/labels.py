"""Labels as commits: read and check a ``labels.jsonl``, and name the git commit that holds exactly its bytes.

One JSON object a line, sorted by id, so that diff, blame and review are git's. The test split is not part
of what training sees: it comes out of :meth:`Labels.for_gate` alone.
"""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from zoo.digest import digest_bytes, digest_json
from zoo.errors import InvalidLabels
from zoo.examples import SPLITS, Example, MaskRef, Span, Split, Target, labels_in
from zoo.label_lines import parse_labels
from zoo.manifest import LabelsCommit

__all__ = [
    "Example",
    "LabelSet",
    "Labels",
    "MaskRef",
    "Span",
    "Split",
    "Target",
    "git_commit_of",
    "labels_in",
    "parse_labels",
    "read_labels",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelSet:
    """What training may see: no test example is reachable from here."""

    train: tuple[Example, ...]
    valid: tuple[Example, ...]


class Labels:
    """A checked labels file.

    Args:
        examples: every example, of all splits.
        data: the file's bytes.
        path: where it was read.
        opened: done to each example when it is handed out.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        data: bytes,
        path: Path,
        opened: Callable[[Example], Example] = lambda example: example,
    ) -> None:
        self.digest = digest_bytes(data)
        self.path = path
        self._data = data
        self._examples = tuple(examples)
        self._opened = opened

    def with_opened(self, opened: Callable[[Example], Example]) -> "Labels":
        """Return these labels with something done to each example when it is handed out, and not before.

        A line names the bytes of a mask, which are in the blob store; whoever learns from it needs the bytes.
        """
        return Labels(self._examples, data=self._data, path=self.path, opened=opened)

    def for_training(self) -> LabelSet:
        """Return the train and valid examples, and nothing else."""
        return LabelSet(
            train=tuple(map(self._opened, self._of("train"))), valid=tuple(map(self._opened, self._of("valid")))
        )

    def for_gate(self) -> tuple[Example, ...]:
        """Return the test examples. Only a gate may ask: whatever is tuned on them makes the gate a lie."""
        return tuple(map(self._opened, self._of("test")))

    def test_inputs(self) -> tuple[Example, ...]:
        """Return the test examples without what is wanted of them: whether they can be read may be asked before."""
        return tuple(replace(example, slices=(), target=()) for example in self._of("test"))

    def test_digest(self) -> str:
        """Return the digest of the test examples alone, by which readings of them are counted."""
        return digest_json([asdict(example) for example in self._of("test")])

    def where(self, example_id: str) -> str:
        """Return the file and line of an example, for errors: ``labels.jsonl:12``."""
        lines = [line and json.loads(line)["id"] for line in map(str.strip, self._data.decode().split("\n"))]
        return f"{self.path}:{1 + lines.index(example_id)}"

    def files(self) -> dict[str, str]:
        """Return the digests of all pictures and masks that are named, each with the id of an example that names it."""
        named = {each.target.digest: each.id for each in self._examples if isinstance(each.target, MaskRef)}
        return named | {each.image: each.id for each in self._examples if each.image}

    def counts(self) -> dict[str, int]:
        """Return how many examples each split has."""
        found = Counter(example.split for example in self._examples)
        return {split: found[split] for split in SPLITS}

    def kinds(self) -> set[str]:
        """Return the kinds of target that occur."""
        return {example.kind for example in self._examples}

    def label_names(self) -> set[str]:
        """Return every label that occurs in a target, of any split."""
        return {name for example in self._examples for name in labels_in(example.target)}

    def commit(self) -> LabelsCommit:
        """Return which labels these are, with the git commit that holds exactly these bytes if there is one."""
        # Of the bytes that were read: the file may have changed while the head was trained.
        commit = git_commit_of(self.path, self._data)
        return LabelsCommit(digest=self.digest, commit=commit, examples=self.counts())

    def example_with(self, label: str) -> str:
        """Return the id of the first example that has a label."""
        return next(example.id for example in self._examples if label in labels_in(example.target))

    def gated_slices(self) -> set[str]:
        """Return the names of the slices that test examples are in, so that a gate can be checked before training."""
        return {name for example in self._of("test") for name in example.slices}

    def _of(self, split: Split) -> tuple[Example, ...]:
        return tuple(example for example in self._examples if example.split == split)


def read_labels(path: Path) -> Labels:
    """Read and check the labels file at ``path``.

    Raises:
        InvalidLabels: it is missing, or something in it does not parse or does not add up.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InvalidLabels(
            f"There are no labels at {path}. A head package keeps them there, one JSON a line."
        ) from None
    except OSError as error:
        raise InvalidLabels(f"The labels {path} cannot be read: {error.strerror}.") from error
    return Labels(parse_labels(data, where=str(path)), data=data, path=path)


def git_commit_of(path: Path, data: bytes) -> str | None:
    """Return the newest commit, reachable from HEAD, that has exactly ``data`` at ``path``.

    Returns:
        The commit's full hash, or None if there is no git, no repository or no such commit.
    """
    path = path.resolve()
    blob = _git(path.parent, "hash-object", "--stdin", data=data)
    if blob is None:
        return None
    # A commit that changes how often the blob occurs either brought it here or took it away.
    changes = _git(path.parent, "log", "--format=%H", f"--find-object={blob}", "--", path.name)
    for commit in (changes or "").split():
        if _git(path.parent, "rev-parse", "--verify", "--quiet", f"{commit}:./{path.name}") == blob:
            return commit
    return None


def _git(folder: Path, *arguments: str, data: bytes = b"") -> str | None:
    """Run git in ``folder``; return what it printed, or None if it failed or is not there."""
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, input=data, capture_output=True, check=False)  # noqa: S603 - fixed arguments
    except FileNotFoundError:
        return None
    return done.stdout.decode().strip() if done.returncode == 0 else None
