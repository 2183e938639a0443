"""Runs: a folder in the zoo for each training of a head, with its history, its checkpoint and what watched it.

``<zoo>/runs/<head>/<first 12 of the key>/`` holds

- ``run.json``: the head, the whole key, when it began, how it ended;
- ``history.jsonl``: one line an epoch and one every few steps (``heads.base.runs.history``);
- ``tensorboard/`` and ``checkpoint/``;
- whatever else an observer writes: safetensors and JSON.

A process that works in a run holds its lock, which the system lets go when the process dies, however it dies. So a run
is *at work*, *done*, *failed*, or *stopped*: neither locked nor ended, and to be gone on with. Importing this imports
no torch.
"""

import errno
import fcntl
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, Self

from heads.base.errors import CheckpointFailed, RunAtWork

__all__ = ["KEPT_RUNS", "RunFolder", "RunRecord", "RunState", "prune_runs", "runs_of"]

KEPT_RUNS = 10
"""How many runs of a head, and how many of its searches, are kept: the newest. Older ones go when a new one begins."""

RunState = Literal["at work", "done", "failed", "stopped"]
RunKind = Literal["train", "search"]

_KEY_LENGTH = 12
_LOCK = "lock"
_RECORD = "run.json"
_CHECKPOINT = re.compile(r"(\d+)-[0-9a-f]+\.safetensors")
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOT_ALLOWED = (errno.EROFS, errno.EACCES, errno.EPERM)
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """What ``run.json`` says.

    Attributes:
        head: the head's name.
        key: the whole key of what was trained: of a build, or of a search.
        kind: whether one head was trained, or many recipes were tried.
        began_at: when it last began, ISO 8601 in UTC.
        ended: how it ended; empty while it is at work, and for ever if it was killed.
        message: why it failed, or in a few words what it came to.
    """

    head: str
    key: str
    kind: RunKind = "train"
    began_at: str = ""
    ended: Literal["", "done", "failed"] = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """One run's folder. ``open`` makes it; ``at_work`` is held while something is trained in it."""

    path: Path

    @classmethod
    def open(cls, zoo_folder: str | Path, head: str, key: str, *, kind: RunKind = "train") -> Self:
        """Return the folder of a run, made if it is not there yet.

        Args:
            zoo_folder: the folder of the zoo.
            head: the head's name.
            key: digest of everything that goes into the run: a build key.
            kind: ``search`` for a search of recipes, whose folders stand beside those of trainings.

        Raises:
            CheckpointFailed: it cannot be written.
        """
        prefix = "search-" if kind == "search" else ""
        folder = cls(Path(zoo_folder) / "runs" / head / (prefix + key[:_KEY_LENGTH]))
        with folder._written():
            folder.path.mkdir(parents=True, exist_ok=True)
            if not (folder.path / _RECORD).exists():
                folder._write(RunRecord(head=head, key=key, kind=kind, began_at=_now()))
        return folder

    @property
    def history(self) -> Path:
        """The file of one JSON line an epoch and one every few steps."""
        return self.path / "history.jsonl"

    @property
    def tensorboard(self) -> Path:
        """The folder that TensorBoard reads."""
        return self.path / "tensorboard"

    @property
    def checkpoint(self) -> Path:
        """The folder of the checkpoint that a killed run goes on from."""
        return self.path / "checkpoint"

    @property
    def checkpointed_step(self) -> int:
        """The step that the run goes on from; 0 if it begins anew."""
        names = [_CHECKPOINT.fullmatch(file.name) for file in self.checkpoint.glob("*.safetensors")]
        return max((int(name[1]) for name in names if name), default=0)

    @property
    def record(self) -> RunRecord:
        """What is known about the run."""
        return RunRecord(**json.loads((self.path / _RECORD).read_text(encoding="utf-8")))

    @property
    def state(self) -> RunState:
        """How the run is now."""
        if _is_locked(self.path):
            return "at work"
        return self.record.ended or "stopped"

    @contextmanager
    def at_work(self) -> Iterator[list[str]]:
        """Hold the run while the body trains in it, and write down how it ended.

        Yields:
            A list for words about what it came to, for whoever lists runs.

        Raises:
            RunAtWork: another process holds it.
            CheckpointFailed: something in it cannot be written.
        """
        with self._written(), _locked(self.path):
            self._write(replace(self.record, began_at=_now(), ended="", message=""))
            words: list[str] = []
            try:
                yield words
            except Exception as error:
                self._note_failure(error)
                raise
            self._write(replace(self.record, ended="done", message=", ".join(words)))

    @contextmanager
    def _written(self) -> Iterator[None]:
        """Say what to do where the body cannot write, as on a full disk."""
        try:
            yield
        except OSError as error:
            if error.errno in _NO_ROOM:
                remedy = "Make room"
            elif error.errno in _NOT_ALLOWED and str(error.filename).startswith(str(self.path.parent.parent)):
                remedy = "Make it writable"
            else:
                raise
            raise CheckpointFailed(
                f"The run in {self.path} cannot be written: {error.strerror}. Nothing was published. {remedy} and give "
                "the same command again; it goes on from the last checkpoint, if there is one."
            ) from error

    def _note_failure(self, error: Exception) -> None:
        """Write down why the run failed; where that fails as well, the run counts as stopped."""
        try:
            self._write(replace(self.record, ended="failed", message=str(error)))
        except OSError as another:
            _log.warning("why the run in %s failed cannot be written there: %s", self.path, another)

    def _write(self, record: RunRecord) -> None:
        new = self.path / f"{_RECORD}.{os.getpid()}"
        try:
            new.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
            new.replace(self.path / _RECORD)
        except OSError:
            new.unlink(missing_ok=True)
            raise


def runs_of(zoo_folder: str | Path, head: str) -> list[RunFolder]:
    """Return the runs of a head, the newest first."""
    found = [RunFolder(file.parent) for file in (Path(zoo_folder) / "runs" / head).glob(f"*/{_RECORD}")]
    return sorted(found, key=lambda run: run.record.began_at, reverse=True)


def prune_runs(zoo_folder: str | Path, head: str, *, keep: int = KEPT_RUNS) -> list[Path]:
    """Delete all but the newest runs of a head, of each kind; never one that is at work.

    Returns:
        The folders that are gone.
    """
    gone = []
    for kind in ("train", "search"):
        for run in [run for run in runs_of(zoo_folder, head) if run.record.kind == kind][keep:]:
            try:
                with _locked(run.path):
                    shutil.rmtree(run.path)
                    gone.append(run.path)
            except RunAtWork:
                continue
    return gone


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    with (folder / _LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunAtWork(
                f"Another process is at work in {folder}. Wait until it has ended, or end it; `zoo head runs` lists "
                "what is at work."
            ) from None
        yield


def _is_locked(folder: Path) -> bool:
    try:
        file = (folder / _LOCK).open("rb")  # so that it works where nothing can be written, too
    except FileNotFoundError:
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        return False


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
