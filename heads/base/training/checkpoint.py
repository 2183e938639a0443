"""Checkpoints: where a run that was killed goes on.

A checkpoint is one safetensors file; what is no tensor is JSON in its header. It is written beside its place, brought
to disk, and renamed, so a file under its own name is whole. Its name ends in the digest of its bytes, so a disk that
lied is noticed, and the checkpoint before it is there for that.
"""

import errno
import json
import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from blake3 import blake3
from safetensors import safe_open
from safetensors.torch import save

from heads.base.errors import CheckpointFailed
from heads.base.training.state import State

__all__ = ["Checkpoints", "clear_checkpoints", "read_checkpoint", "write_checkpoint"]

_KEPT = 2
_HEADER = "hydrazoo"
_DIGEST_LENGTH = 16
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoints:
    """Where and how often the state of a run is written.

    Attributes:
        folder: made if it is not there; holds nothing else.
        every_steps: steps of the optimiser between two checkpoints.
        key: the build key. What was written under another key is not resumed; the run begins anew.
    """

    folder: Path
    every_steps: int
    key: str = ""

    def __post_init__(self) -> None:
        assert self.every_steps > 0, f"a checkpoint is written every 1 or more steps, not {self.every_steps}"


def write_checkpoint(checkpoints: Checkpoints, state: State, *, step: int, identity: Mapping[str, Any]) -> None:
    """Write the state of a run, and delete all but it and the checkpoint before it.

    Args:
        checkpoints: where to.
        state: of the run.
        step: how many steps it has done.
        identity: JSON; what a run must have in common with this one to go on from it.

    Raises:
        CheckpointFailed: it cannot be written, as on a full disk. Nothing half written is left.
    """
    header = {_HEADER: json.dumps({"identity": identity, "values": state.values})}
    # A copy of each: safetensors refuses tensors that share memory.
    data = save({name: tensor.detach().cpu().clone().contiguous() for name, tensor in state.tensors.items()}, header)
    place = checkpoints.folder / f"{step:09}-{_digest(data)}.safetensors"
    beside = place.with_suffix(f".{os.getpid()}.new")
    try:
        checkpoints.folder.mkdir(parents=True, exist_ok=True)
        _write_to_disk(beside, data)
        beside.replace(place)
        _sync_folder(checkpoints.folder)
        for old in _files(checkpoints)[_KEPT:]:
            old.unlink()
    except OSError as error:
        _remove_quietly(beside)
        raise CheckpointFailed(_why_not(checkpoints, error, step, len(data))) from error


def read_checkpoint(checkpoints: Checkpoints, *, identity: Mapping[str, Any]) -> State | None:
    """Return the newest whole state of a run, or None if there is none; what is of another run is deleted.

    Args:
        checkpoints: where to look.
        identity: what the run must have in common with the one that wrote it.

    Raises:
        CheckpointFailed: the folder cannot be read.
    """
    try:
        for leftover in checkpoints.folder.glob("*.new"):
            leftover.unlink()
        for file in _files(checkpoints):
            if _digest(file.read_bytes()) != file.stem.partition("-")[2]:
                _log.warning("%s is damaged; looking for the checkpoint before it", file)
                file.unlink()
                continue
            header, state = _read(file)
            if header == json.loads(json.dumps(identity)):
                return state
            file.unlink()
    except OSError as error:
        raise CheckpointFailed(
            f"The checkpoints in {checkpoints.folder} cannot be read: {error.strerror}. Make them readable, or delete "
            "the folder to train anew."
        ) from error
    return None


def clear_checkpoints(checkpoints: Checkpoints) -> None:
    """Delete the checkpoints of a run that is done."""
    for file in _files(checkpoints):
        file.unlink(missing_ok=True)


def _read(file: Path) -> tuple[Any, State]:
    with safe_open(file, framework="pt") as opened:
        header = json.loads(opened.metadata()[_HEADER])
        tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118 - it is no mapping
    return header["identity"], State(tensors=tensors, values=header["values"])


def _files(checkpoints: Checkpoints) -> list[Path]:
    """Return the checkpoints, the newest first."""
    return sorted(checkpoints.folder.glob("*-*.safetensors"), reverse=True)


def _digest(data: bytes) -> str:
    return blake3(data).hexdigest()[:_DIGEST_LENGTH]


def _write_to_disk(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _remove_quietly(file: Path) -> None:
    """Delete what was half written; where even that fails, the error that led here says more."""
    try:
        file.unlink(missing_ok=True)
    except OSError:
        _log.warning("%s could not be deleted", file)


def _why_not(checkpoints: Checkpoints, error: OSError, step: int, size_bytes: int) -> str:
    what = f"The checkpoint of step {step} cannot be written to {checkpoints.folder}: {error.strerror}"
    left = len(_files(checkpoints))
    resumes = "the same build goes on from the checkpoint before it" if left else "nothing is half written"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{what}; it takes {size_bytes / 1e6:.1f} MB. Free some space and build again: {resumes}."
    return f"{what}. Make the folder writable and build again: {resumes}."
