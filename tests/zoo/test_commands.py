import json
import subprocess
import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from tests.support.fake_manifests import version_manifest
from zoo import Backbone, Version, Zoo
from zoo.author import author
from zoo.commands import main
from zoo.commands.main import ENTRY_POINTS, load_command
from zoo.console import DomainFailure
from zoo.manifest import GateResult, Metrics, SliceMetrics

OWN = ("ls", "show", "log", "promote", "rollback", "verify", "config")


@pytest.fixture
def folder(zoo: Zoo, body: Backbone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder whose zoo has intent@1 and intent@2; prod is intent@1."""
    zoo.publish(version_manifest(zoo, body), promote_to=["prod"], reason="the first")
    zoo.publish(version_manifest(zoo, body, seed="2"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HYDRAZOO_ZOO", "zoo")
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def run_json(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_ls_lists_heads_with_their_aliases_and_backbones(folder: Path) -> None:
    assert "intent  2       prod → 1 (epoch 1)" in run("ls").stdout
    listed = run_json("ls")
    alias = {"alias": "prod", "number": 1, "epoch": 1, "canary": 0, "canary_percent": 0, "shadows": []}
    assert listed["heads"] == [{"head": "intent", "latest_number": 2, "aliases": [alias]}]
    assert [(found["name"], found["number"]) for found in listed["backbones"]] == [("minilm", 1)]


def test_ls_of_a_head_lists_its_versions_newest_first(folder: Path) -> None:
    lines = run("ls", "intent").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["version", "intent@2", "intent@1"]
    assert "prod" in lines[2]
    assert [found["number"] for found in run_json("ls", "intent")["versions"]] == [2, 1]


def test_ls_of_an_empty_zoo_says_what_to_do_next(zoo: Zoo, tmp_path: Path) -> None:
    assert "zoo head train" in run("ls", "--zoo", str(tmp_path / "zoo")).stdout


def test_show_prints_the_path_and_everything_that_made_the_version(folder: Path) -> None:
    printed = run("show", "intent@prod").stdout
    for part in (
        "intent@1  ",
        "aliases     prod",
        "classify: refund, greeting",
        "shared  minilm/0",
        "own     intent",
        "negation                 1 examples  macro_f1 0.700",
        "macro_f1                     at least 0.8, reached 0.900",
        "largest difference 1.0e-06 (tolerance 1.0e-04), 100.0% equal answers",
        "not committed to git; 2 test, 4 train",
    ):
        assert part in printed


def test_show_says_when_a_gate_is_an_upper_bound(zoo: Zoo, body: Backbone, folder: Path) -> None:
    metrics = Metrics(overall=SliceMetrics(examples=1, values={"mae": 0.5}), slices={})
    gate = GateResult(bounds={"mae": 1.0}, reached={"mae": 0.5})
    zoo.publish(version_manifest(zoo, body, head="urgency", metrics=metrics, gate=gate))
    assert "at most 1, reached 0.500" in run("show", "urgency").stdout


def test_show_as_json_holds_the_whole_manifest(zoo: Zoo, folder: Path) -> None:
    shown = run_json("show", "intent@prod")
    version = zoo.resolve("intent@prod").version
    assert shown["version"]["digest"] == version.digest
    assert shown["manifest"] == zoo.manifest(version).model_dump(mode="json", by_alias=True)
    assert shown["aliases"] == ["prod"]


def test_promote_and_rollback_move_an_alias_and_log_tells_the_story(folder: Path) -> None:
    moved = run("promote", "intent@2", "prod", "--expect-epoch", "1", "--reason", "better", "--by", "ann")
    assert moved.stdout == "intent@prod is now intent@2 (epoch 2)\n"
    assert run("rollback", "intent", "prod", "--by", "ben").stdout == "intent@prod is now intent@1 (epoch 3)\n"
    story = [(entry["epoch"], entry["number"], entry["by"], entry["reason"]) for entry in run_json("log", "intent")]
    assert story == [(3, 1, "ben", "rollback"), (2, 2, "ann", "better"), (1, 1, "someone", "the first")]
    assert "better" in run("log", "intent", "--alias", "prod").stdout


def test_a_canary_and_a_shadow_join_what_an_alias_means_until_it_is_promoted_plainly(
    zoo: Zoo, body: Backbone, folder: Path
) -> None:
    zoo.publish(version_manifest(zoo, body, seed="3"))
    assert run("promote", "intent@2", "prod", "--canary", "10").stdout == (
        "intent@prod is now intent@1, 10 % on 2 (epoch 2)\n"
    )
    assert run("promote", "intent@3", "prod", "--shadow").stdout == (
        "intent@prod is now intent@1, 10 % on 2, in the shadow 3 (epoch 3)\n"
    )
    assert "prod → 1, 10 % on 2, in the shadow 3 (epoch 3)" in run("ls").stdout
    assert [line.split()[:2] for line in run("ls", "intent").stdout.splitlines()[1:]] == [
        ["intent@3", "prod"],
        ["intent@2", "prod"],
        ["intent@1", "prod"],
    ]
    assert run_json("show", "intent@2")["aliases"] == ["prod (10 %)"]
    assert run_json("show", "intent@3")["aliases"] == ["prod (shadow)"]
    assert "intent@1, 10 % on 2" in run("log", "intent").stdout
    assert (run_json("log", "intent")[0]["canary"], run_json("log", "intent")[0]["shadows"]) == (2, [3])
    assert run("promote", "intent@2", "prod").stdout == (
        "intent@prod is now intent@2 (epoch 4)\nthe shadow intent@3 of intent@prod ended\n"
    )
    assert run("rollback", "intent", "prod").stdout == (
        "intent@prod is now intent@1, 10 % on 2, in the shadow 3 (epoch 5)\n"
    )


def test_several_heads_are_promoted_at_once(zoo: Zoo, body: Backbone, folder: Path) -> None:
    zoo.publish(version_manifest(zoo, body, head="urgency"))
    moved = run_json("promote", "intent@2", "urgency@1", "canary")
    assert [(entry["head"], entry["number"], entry["epoch"]) for entry in moved] == [
        ("intent", 2, 1),
        ("urgency", 1, 1),
    ]


def test_verify_says_that_all_is_well(folder: Path) -> None:
    assert "All is well: 2 versions" in run("verify").stdout
    assert run_json("verify")["ok"] is True


def test_verify_of_a_damaged_zoo_names_the_damage_and_fails(zoo: Zoo, folder: Path) -> None:
    version: Version = zoo.resolve("intent@2").version
    (folder / "zoo" / "blobs" / version.digest[:2] / version.digest).write_bytes(b"rot")
    result = run("verify")
    assert result.exit_code == 1
    assert "version intent@2  corrupt" in result.stdout
    assert run("verify", "--json").exit_code == 1


def test_verify_mentions_left_over_blobs_as_harmless(zoo: Zoo, folder: Path) -> None:
    zoo.blobs.put(b"left over")
    result = run("verify")
    assert (result.exit_code, "1 blobs belong to nothing" in result.stdout) == (0, True)


def test_config_prints_each_value_and_its_origin_and_no_password(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "hydrazoo.toml").write_text('server = "gpu:1"\n')
    monkeypatch.setenv("HYDRAZOO_DATABASE_URL", "postgresql://me:secret@db/zoo")
    settings = {entry["key"]: (entry["value"], entry["origin"]) for entry in run_json("config", "--zoo", "mine")}
    assert settings["zoo"] == ("mine", "flag")
    assert settings["server"] == ("gpu:1", "hydrazoo.toml")
    assert settings["database_url"] == ("postgresql://me:***@db/zoo", "environment HYDRAZOO_DATABASE_URL")
    assert "(in the zoo's folder)" in run("config").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "intnt"], "There is no head 'intnt' in the zoo. Did you mean 'intent'?"),
        (["show", "Intent!"], "'Intent!' is not a reference"),
        (["log", "intnt"], "Did you mean 'intent'?"),
        (["promote", "intent@2", "prod", "--expect-epoch", "7"], "someone moved it to intent@1"),
        (["rollback", "intent", "prod"], "nothing to roll back to"),
        (["promote", "intent@2", "beta", "--canary", "5"], "intent@beta means nothing yet"),
        (["promote", "intent@1", "prod", "--shadow"], "intent@prod means intent@1 already"),
        (["ls", "--zoo", "nowhere"], "`zoo backbone add minilm` makes one there"),
    ],
)
def test_a_refusal_is_one_line_on_stderr_and_exit_code_1(folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 1
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["shwo", "intent"], "There is no command 'shwo'. Did you mean 'show'?"),
        (["show"], "Missing argument"),
        (["show", "intent", "--nonsense"], "No such option"),
        (["promote", "intent@1", "intent@2", "prod"], "names 'intent' twice"),
        (["promote", "intent", "prod"], "does not say which version. Expected intent@<number>"),
        (["promote", "intent@1", "intent@2", "prod", "--expect-epoch", "1"], "--expect-epoch goes with one version"),
        (["promote", "intent@1", "prod", "--expect-epoch", "-1"], "is not in the range"),
        (["promote", "intent@2", "prod", "--canary", "100"], "is not in the range"),
        (["promote", "intent@2", "prod", "--canary", "5", "--shadow"], "exclude each other"),
    ],
)
def test_misuse_is_explained_with_exit_code_2(folder: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr


@pytest.mark.parametrize("name", OWN)
def test_every_command_has_an_example_in_its_help_and_speaks_json(name: str) -> None:
    printed = run(name, "--help").stdout
    assert f"Example: zoo {name}" in printed.replace("HYDRAZOO_ZOO=/srv/zoo ", "")
    assert "--json" in printed
    assert "--zoo FOLDER" in printed


def test_help_lists_every_command_of_every_folder() -> None:
    printed = run("--help").stdout
    assert all(f"  {point.name} " in printed for point in entry_points(group=ENTRY_POINTS))


def test_a_command_whose_dependencies_are_not_installed_says_what_to_install() -> None:
    with pytest.raises(DomainFailure, match=r"needs the module 'nowhere', which is not installed.*pip install"):
        load_command(EntryPoint("x", "nowhere.commands:x", ENTRY_POINTS))


def test_running_one_command_imports_no_other_and_nothing_heavy(folder: Path) -> None:
    script = (
        "import sys\nfrom zoo.commands import main\n"
        "main(['ls'], standalone_mode=False)\n"
        "heavy = {'torch', 'transformers', 'onnxruntime', 'grpc', 'heads', 'serving', 'alembic', 'zoo.commands.show'}\n"
        "sys.exit(', '.join(heavy & set(sys.modules)) or 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_author_is_git_s_user_or_the_login_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "gitconfig"))
    (tmp_path / "gitconfig").write_text("[user]\n\tname = Ann Author\n")
    assert author() == "Ann Author"
    monkeypatch.setenv("PATH", "")
    monkeypatch.setenv("LOGNAME", "ann")
    assert author() == "ann"
