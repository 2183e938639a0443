"""``zoo backbone``, ``zoo head`` and a team's own script, as a person runs them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from heads.base.errors import InvalidHead, UnknownTeam
from heads.base.packages import find_teams, load_package, new_package
from tests.support.head_packages import TeamFolder, among_the_teams, mood_lines
from tests.support.tiny_models import write_text_model
from zoo import Zoo
from zoo.commands import main

HEAD_PY = '''"""The mood head."""

from heads.base import Classify, Gate, Head

__all__ = ["HEAD"]

HEAD = Head(
    name="mood",
    team="mood",
    backbone="tiny",
    task=Classify(labels=("good", "bad")),
    gate=Gate(bounds={"accuracy": 0.9, "two_moods/accuracy": 0.1}),
)
'''
MAIN_PY = '''"""Run it."""

from heads.mood.head import HEAD

from heads.base.script import main

main(HEAD)
'''


def zoo_command(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def mood(tmp_path: Path) -> Iterator[TeamFolder]:
    """A package heads/mood, in a folder of its own that is part of the package ``heads`` for one test."""
    team = TeamFolder(tmp_path / "more_heads" / "mood")
    team.write_labels([{**line, "slices": ["two_moods"]} for line in mood_lines()])
    with among_the_teams(team, head=HEAD_PY, __main__=MAIN_PY):
        yield team


def test_a_backbone_is_added_once_and_then_at_once(tiny_model: Path, zoo_folder: Path) -> None:
    arguments = ("backbone", "add", f"hf:{tiny_model}", "--name", "tiny", "--split", "2", "--zoo", zoo_folder, "--json")
    found = json.loads(zoo_command(*arguments).stdout)
    assert (found["status"], found["backbone"]) == ("unchanged", "tiny@1")
    assert [stage["name"] for stage in found["stages"]] == ["tiny/0", "tiny/1"]
    listed = zoo_command("backbone", "ls", "--zoo", zoo_folder)
    assert "tiny@1" in listed.stdout
    assert "tiny/0, tiny/1" in listed.stdout


def test_another_cut_is_another_backbone_version_that_shares_no_name(tiny_model: Path, zoo_folder: Path) -> None:
    arguments = ("backbone", "add", f"hf:{tiny_model}", "--name", "tiny", "--split", "0", "--zoo", zoo_folder, "--json")
    found = json.loads(zoo_command(*arguments).stdout)
    assert (found["status"], found["backbone"]) == ("added", "tiny@2")
    with Zoo.open(zoo_folder) as zoo:
        assert len(zoo.backbone("tiny").manifest.stages) == 1


def test_adding_again_heals_what_is_lost_and_by_force_what_is_damaged(tmp_path: Path) -> None:
    model, folder = write_text_model(tmp_path / "model", num_hidden_layers=1), tmp_path / "zoo"
    arguments = ("backbone", "add", f"hf:{model}", "--name", "small", "--zoo", folder, "--json")
    assert json.loads(zoo_command(*arguments).stdout)["status"] == "added"
    with Zoo.open(folder) as zoo:
        stage = zoo.stage(zoo.backbone("small").manifest.stages[0].digest)
    file = folder / "blobs" / stage.artifacts["onnx"].blob[:2] / stage.artifacts["onnx"].blob
    file.unlink()
    assert json.loads(zoo_command(*arguments).stdout)["status"] == "added"
    file.write_bytes(b"damaged")
    assert json.loads(zoo_command(*arguments).stdout)["status"] == "unchanged"
    assert "--force" in zoo_command("verify", "--zoo", folder).stdout
    healed = json.loads(zoo_command(*arguments, "--force").stdout)
    assert (healed["status"], healed["backbone"]) == ("added", "small@1")
    assert zoo_command("verify", "--zoo", folder).exit_code == 0


def test_adding_again_imports_no_torch(tiny_model: Path, zoo_folder: Path) -> None:
    code = (
        "import sys\nfrom zoo.commands import main\n"
        "main(sys.argv[1:], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'onnx'} & set(sys.modules)\nassert not heavy, heavy"
    )
    arguments = ["backbone", "add", f"hf:{tiny_model}", "--name", "tiny", "--split", "2", "--zoo", str(zoo_folder)]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "unchanged: tiny@1 (2 stages)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("backbone", "add", "minilm", "--split", "a"), 2, "'a' is not a list of block indices"),
        (("backbone", "add", "minilm", "--name", "Bad Name"), 1, "'Bad Name' cannot be the name of a backbone"),
        (("backbone", "add", "ftp:x"), 1, "is not a backbone's source"),
        (("backbone", "add", "hf:/nowhere/at-all"), 1, "error: "),
        (("head", "train", "intnet"), 1, "There is no head package heads/intnet. Did you mean 'intent'?"),
        (("head", "train"), 2, "Missing argument"),
        (("head", "train", "intent"), 1, "There is no backbone 'minilm' in the zoo"),
    ],
)
def test_mistakes_end_with_a_line_that_helps(
    arguments: tuple[str, ...], code: int, message: str, zoo_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HYDRAZOO_ZOO", str(zoo_folder))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    result = zoo_command(*arguments)
    assert result.exit_code == code, result.output
    assert message in result.output


def test_a_package_is_trained_promoted_and_then_unchanged(mood: TeamFolder, zoo_folder: Path) -> None:
    trained = zoo_command("head", "train", "mood", "--promote", "prod", "--zoo", zoo_folder)
    assert trained.exit_code == 0, trained.output
    assert "mood@1" in trained.stdout
    assert "published" in trained.stdout
    again = json.loads(zoo_command("head", "train", "mood", "--zoo", zoo_folder, "--json").stdout)
    assert (again[0]["version"], again[0]["status"], again[0]["promoted"]) == ("mood@1", "unchanged", [])
    assert again[0]["metrics"]["overall"]["values"]["accuracy"] >= 0.9
    forced = json.loads(zoo_command("head", "train", "mood", "--force", "--zoo", zoo_folder, "--json").stdout)
    assert (forced[0]["version"], forced[0]["status"]) == ("mood@2", "published")


def test_one_failing_head_does_not_keep_another_from_being_built(mood: TeamFolder, zoo_folder: Path) -> None:
    result = zoo_command("head", "train", "intent", "mood", "--zoo", zoo_folder, "--json")
    assert result.exit_code == 1
    failed, built = json.loads(result.stdout)
    assert (failed["head"], failed["status"]) == ("intent", "failed")
    assert "no backbone 'minilm'" in failed["error"]
    assert built["version"] == "mood@1"
    assert "no backbone 'minilm'" in result.stderr


def test_the_script_of_a_package_builds_as_the_command_does(
    mood: TeamFolder, zoo_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from heads.base.script import main as script

    monkeypatch.setattr(sys, "argv", ["mood", "--zoo", str(zoo_folder), "--json", "--promote", "canary"])
    with pytest.raises(SystemExit) as ended:
        script(load_package("mood").head)
    assert ended.value.code == 0
    (built,) = json.loads(capsys.readouterr().out)
    assert (built["version"], built["promoted"]) == ("mood@1", ["canary"])


def test_packages_are_found_and_a_wrong_one_is_refused(mood: TeamFolder) -> None:
    assert {"intent", "urgency", "topics", "pii", "mood"} <= set(find_teams())
    assert "base" not in find_teams()
    (mood.path / "head.py").write_text(HEAD_PY.replace('team="mood"', 'team="other"'))
    with pytest.raises(InvalidHead, match="declares a head of team 'other'; its folder is that of 'mood'"):
        load_package("mood")


def test_a_head_py_that_does_not_import_is_named_with_its_line(mood: TeamFolder) -> None:
    (mood.path / "head.py").write_text(HEAD_PY.replace("labels=(", "lables=("))
    with pytest.raises(
        InvalidHead, match=r"head\.py cannot be imported, line 11: Classify has no 'lables'\..* 'labels'"
    ):
        load_package("mood")
    (mood.path / "head.py").write_text("HEAD = (")
    with pytest.raises(InvalidHead, match=r"head\.py cannot be imported, line 1: SyntaxError"):
        load_package("mood")


def test_a_new_team_starts_with_a_copy_that_trains(mood: TeamFolder, zoo_folder: Path) -> None:
    folder = new_package("tone", "mood")
    assert folder == mood.path.parent / "tone"
    head = load_package("tone").head
    assert (head.name, head.team) == ("tone", "tone")
    assert "two_moods/accuracy" in head.gate.bounds, "a slice that only sounds like the team is left alone"
    assert "The tone head." in (folder / "head.py").read_text()
    result = zoo_command("head", "train", "tone", "--zoo", zoo_folder, "--json")
    assert json.loads(result.stdout)[0]["version"] == "tone@1"
    with pytest.raises(InvalidHead, match="is there already"):
        new_package("tone", "mood")
    with pytest.raises(UnknownTeam):
        new_package("x", "nobody")
    shutil.rmtree(folder)


def test_head_ls_lists_every_package_with_its_task(mood: TeamFolder) -> None:
    listed: list[dict[str, Any]] = json.loads(zoo_command("head", "ls", "--json").stdout)
    assert {each["name"]: each["task"]["kind"] for each in listed}.items() >= {
        "intent": "classify",
        "urgency": "regress",
        "topics": "multilabel",
        "pii": "tag",
    }.items()
    assert "multilabel" in zoo_command("head", "ls").stdout


@pytest.mark.parametrize(
    ("tail", "said"),
    [
        ("None", "the head alone"),
        ("Tail(blocks=1)", "the last block"),
        ("Tail(blocks='all')", "all blocks"),
        ("Tail(blocks=2, how='lora', rank=4)", "LoRA of rank 4 on the last 2 blocks"),
    ],
)
def test_head_ls_says_what_each_trains(mood: TeamFolder, tail: str, said: str) -> None:
    declared = HEAD_PY.replace("import Classify, Gate, Head", "import Classify, Gate, Head, Tail")
    (mood.path / "head.py").write_text(declared.replace('    backbone="tiny",', f'    backbone="tiny", tail={tail},'))
    (line,) = [line for line in zoo_command("head", "ls").stdout.splitlines() if line.startswith("mood")]
    assert line.rstrip().endswith(said)


@contextmanager
def interrupted_once_there_is(pattern: str, folder: Path) -> Iterator[None]:
    """Press Ctrl-C, from another thread, when a file turns up within the body."""
    over = threading.Event()

    def wait() -> None:
        while not over.wait(0.001):
            if list(folder.glob(pattern)):
                os.kill(os.getpid(), signal.SIGINT)
                return

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_says_that_nothing_was_published_and_from_which_step_the_same_command_goes_on(
    mood: TeamFolder, zoo_folder: Path
) -> None:
    mood.write_recipe("epochs = 150\npatience = 150\nlearning_rate = 0.003\nbatch_size = 4\n")
    with interrupted_once_there_is("runs/mood/*/checkpoint/*.safetensors", zoo_folder):
        stopped = zoo_command("head", "train", "mood", "intent", "--zoo", zoo_folder)
    assert stopped.exit_code == 130
    step = re.fullmatch(
        r"error: 'mood' was stopped\. Nothing of it was published\. The same command goes on from step ([\d,]+)\.",
        stopped.stderr.strip(),
    )
    assert step, stopped.stderr
    assert int(step[1].replace(",", "")) % 200 == 0
    assert zoo_command("verify", "--zoo", zoo_folder).exit_code == 0
    done = json.loads(zoo_command("head", "train", "mood", "--zoo", zoo_folder, "--json").stdout)
    assert done[0]["version"] == "mood@1"


def test_ctrl_c_before_the_first_checkpoint_says_that_training_begins_anew(mood: TeamFolder, zoo_folder: Path) -> None:
    with interrupted_once_there_is("runs/mood/*/run.json", zoo_folder):
        stopped = zoo_command("head", "train", "mood", "--zoo", zoo_folder)
    assert (stopped.exit_code, stopped.stdout) == (130, "")
    assert "Nothing of it was published; its features are kept." in stopped.stderr
    assert "trains it from the beginning" in stopped.stderr
