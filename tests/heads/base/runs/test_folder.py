"""A run's folder: it knows whether it is at work, however its process ended, and old ones go."""

import errno
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from heads.base.errors import CheckpointFailed, RunAtWork
from heads.base.runs.folder import RunFolder, prune_runs, runs_of
from heads.base.training import Checkpoints
from heads.base.training.checkpoint import write_checkpoint
from heads.base.training.state import State

KEY = "0123456789abcdef" * 4
HOLD = """
import sys, time
from heads.base.runs.folder import RunFolder
with RunFolder.open(sys.argv[1], "mood", sys.argv[2]).at_work():
    print("at work", flush=True)
    time.sleep(60)
"""


def hold(zoo: Path, key: str = KEY) -> "subprocess.Popen[str]":
    """Start a process that is at work in a run, and return when it is."""
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(zoo), key], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    return process


def state(run: RunFolder) -> str:
    return run.state


def end(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_a_run_has_its_place_below_its_head_by_the_first_twelve_of_its_key(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    assert run.path == tmp_path / "runs" / "mood" / "0123456789ab"
    assert run.history.parent == run.tensorboard.parent == run.checkpoint.parent == run.path
    assert (run.record.head, run.record.key) == ("mood", KEY)
    search = RunFolder.open(tmp_path, "mood", KEY, kind="search")
    assert search.path.name == "search-0123456789ab"
    assert {run.path for run in runs_of(tmp_path, "mood")} == {run.path, search.path}


def test_a_run_is_done_or_failed_by_how_its_body_ended(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    with run.at_work():
        assert state(run) == "at work"
    assert state(run) == "done"
    with pytest.raises(OSError, match="disk"), run.at_work():
        raise OSError("no disk left")
    assert (state(run), run.record.message) == ("failed", "no disk left")


def test_a_killed_run_is_stopped_and_can_be_gone_on_with(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    process = hold(tmp_path)
    assert state(run) == "at work"
    end(process)
    assert state(run) == "stopped"
    with run.at_work():
        pass
    assert state(run) == "done"


def full(_run: RunFolder) -> NoReturn:
    raise OSError(errno.ENOSPC, "No space left on device")


def read_only(run: RunFolder) -> NoReturn:
    raise OSError(errno.EROFS, "Read-only file system", str(run.history))


@pytest.mark.parametrize(("fail", "remedy"), [(full, "Make room"), (read_only, "Make it writable")])
def test_a_run_that_cannot_be_written_says_what_to_do(
    tmp_path: Path, fail: Callable[[RunFolder], NoReturn], remedy: str
) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    with pytest.raises(CheckpointFailed, match=rf"cannot be written.*Nothing was published\. {remedy}"), run.at_work():
        fail(run)
    with run.at_work():
        pass
    assert state(run) == "done"


def fail_with_a_folder_in_the_way(file: Path) -> None:
    file.unlink()
    file.mkdir()
    raise ZeroDivisionError


def test_where_not_even_the_failure_can_be_written_down_the_run_counts_as_stopped(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    with pytest.raises(ZeroDivisionError), run.at_work():
        fail_with_a_folder_in_the_way(run.path / "run.json")
    (run.path / "run.json").rmdir()
    assert [file.name for file in run.path.iterdir()] == ["lock"]


def test_a_file_of_others_that_cannot_be_read_is_no_trouble_of_the_runs(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), RunFolder.open(tmp_path, "mood", KEY).at_work():
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/weights")


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path: Path) -> None:
    run = RunFolder.open(tmp_path, "mood", KEY)
    assert run.checkpointed_step == 0
    checkpoints = Checkpoints(folder=run.checkpoint, every_steps=200)
    for step in (200, 400):
        write_checkpoint(checkpoints, State(), step=step, identity={})
    (run.checkpoint / "000000600.77.new").touch()
    assert run.checkpointed_step == 400


def test_a_run_that_is_at_work_is_refused_to_a_second_process(tmp_path: Path) -> None:
    process = hold(tmp_path)
    with pytest.raises(RunAtWork, match="zoo head runs"), RunFolder.open(tmp_path, "mood", KEY).at_work():
        pass
    end(process)


def test_old_runs_go_by_count_but_never_one_that_is_at_work(tmp_path: Path) -> None:
    keys = [f"{number:012}" for number in range(5)]
    process = hold(tmp_path, keys[0])
    for key in keys[1:]:
        with RunFolder.open(tmp_path, "mood", key).at_work():
            pass
    search = RunFolder.open(tmp_path, "mood", KEY, kind="search")
    other = RunFolder.open(tmp_path, "tone", KEY)
    gone = prune_runs(tmp_path, "mood", keep=2)
    end(process)
    assert {path.name for path in gone} == {keys[1], keys[2]}
    assert {run.path.name for run in runs_of(tmp_path, "mood")} == {keys[0], keys[3], keys[4], search.path.name}
    assert other.path.exists()


def test_the_newest_run_is_the_one_that_began_last(tmp_path: Path) -> None:
    first, second = (RunFolder.open(tmp_path, "mood", key) for key in ("a" * 12, "b" * 12))
    for run in (second, first):
        with run.at_work():
            pass
    assert [run.path.name[0] for run in runs_of(tmp_path, "mood")] == ["a", "b"]


def test_looking_at_runs_needs_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom heads.base.runs.folder import runs_of\nfrom heads.base.runs.history import read_history\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
