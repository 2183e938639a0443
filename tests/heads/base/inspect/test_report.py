"""Reports of small heads of every kind: each section is there, says what it should, and loads nothing."""

import io
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from torch import nn

from heads.base import Classify, Embed, Gate, Multilabel, Regress, Tag, Tail
from heads.base.backbones import add_backbone
from heads.base.building.build import build_head
from heads.base.declaration import Task
from heads.base.errors import InvalidHead
from heads.base.inspect.collect import Subject, collect
from heads.base.inspect.observer import ActivationObserver
from heads.base.inspect.rebuilt import rebuild
from heads.base.inspect.report import make_report, write_report
from heads.base.inspect.sections_inside import rebuilt_or_why
from heads.base.runs.folder import RunFolder
from heads.base.runs.observers import HistoryObserver
from heads.base.training.observing import EpochRecord, StepRecord
from tests.support.head_packages import TeamFolder, mood_lines
from tests.support.html_page import ParsedPage
from tests.support.reports import SECTIONS, report
from tests.support.tiny_models import write_image_model
from zoo import Version, Zoo
from zoo.commands import main

EVIL = "<script>alert(1)</script>"


def mood_with(key: str, targets: Sequence[Any]) -> list[dict[str, Any]]:
    """The made-up texts with other targets: the first for the good ones, the second for the bad ones."""
    lines = []
    for line in mood_lines():
        label = line.pop("label")
        lines.append({**line, key: targets[label == "bad"]})
    return lines


def colours(zoo: Zoo) -> list[dict[str, Any]]:
    """Small noisy images, red or blue."""
    lines: list[dict[str, Any]] = []
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 80, (36, 32, 3), dtype=np.uint8)
        pixels[..., 2 * (number % 2)] += 170
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, format="PNG")
        lines.append(
            {
                "id": f"colour-{number:02}",
                "image": zoo.blobs.put(file.getvalue()),
                "split": ("train", "train", "valid", "test")[number // 2 % 4],
                "slices": [],
                "label": ("red", "blue")[number % 2],
            }
        )
    return lines


def build(zoo: Zoo, team: TeamFolder) -> Version:
    return build_head(zoo, team.package, by="tests").version


def write_run(zoo_folder: Path, version: Version, build_key: str) -> None:
    """Leave what a training leaves: a history of three epochs, and activations of a network that was really run."""
    run = RunFolder.open(zoo_folder, version.head, build_key)
    network: Any = nn.Sequential(nn.Linear(4, 6), nn.GELU(), nn.Linear(6, 2))
    observers = (HistoryObserver(run.history), ActivationObserver(run.path, every=1))
    for observer in observers:
        observer.begins(network, 3)
    for epoch in range(1, 4):
        network(torch.randn(8, 4))
        for observer in observers:
            observer.on_step(
                StepRecord(
                    step=epoch,
                    epoch=epoch,
                    loss=1 / epoch,
                    learning_rates={"head": 0.1 / epoch},
                    grad_norms={"head": 1.0 / epoch},
                    rows=8,
                    seconds=0.1,
                )
            )
            observer.on_epoch(
                EpochRecord(
                    epoch=epoch,
                    epochs=3,
                    train_loss=1 / epoch,
                    valid_loss=1.5 / epoch,
                    metrics={"macro_f1": 0.3 * epoch, "f1.good": 0.1},
                    watched=0.3 * epoch,
                    is_best=True,
                    rows_per_s=80.0,
                    seconds=0.1,
                )
            )
    for observer in observers:
        observer.ends()


@dataclass(frozen=True)
class Built:
    """A classifying head in a zoo, one of whose valid examples is written to do harm."""

    zoo: Zoo
    folder: Path
    team: TeamFolder
    version: Version

    def subject(self, zoo_folder: Path | None = None) -> Subject:
        return collect(self.zoo, self.version, self.team.package, zoo_folder=zoo_folder or self.folder)


@pytest.fixture(scope="module")
def built(tiny_zoo_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    folder = Path(shutil.copytree(tiny_zoo_template, tmp_path_factory.mktemp("built") / "zoo"))
    team = TeamFolder(folder.parent / "mood")
    lines = mood_lines()
    lines[4] = {**lines[4], "text": f"{lines[4]['text']} {EVIL}", "slices": [EVIL]}
    assert lines[4]["split"] == "valid"
    team.write_labels(lines)
    with Zoo.open(folder) as zoo:
        version = build(zoo, team)
        write_run(folder, version, zoo.manifest(version).build_key)
        yield Built(zoo, folder, team, version)


def test_a_classifying_head_is_reported_whole_with_its_training(built: Built) -> None:
    text, parsed = report(built.subject(), built.team.package.head)
    sections = parsed.sections
    assert built.version.digest in sections["about"]
    assert "tiny/0" in sections["about"]
    assert "best: epoch 3" in sections["learning"]
    assert "good" in sections["mistakes"]
    assert "precision" in sections["classes"]
    assert "short" in sections["slices"]
    assert "Expected calibration error" in sections["reliability"]
    assert "speaks for the answer" in sections["why"]
    assert "star is the published head" in sections["landscape"]
    assert "step" in sections["activations"]
    assert "norm of the gradient" in sections["gradients"]
    assert EVIL in sections["losses"] + sections["why"], "the text is there, as text"
    assert EVIL in sections["slices"]
    assert EVIL not in text
    assert len(text) < 2_000_000


def test_every_figure_has_a_sentence_that_says_how_to_read_it(built: Built, tmp_path: Path) -> None:
    text, _ = report(built.subject(tmp_path), built.team.package.head)
    assert text.count("<figure>") == text.count("<figcaption>") >= 4


def test_without_a_run_the_report_says_what_is_missing(built: Built, tmp_path: Path) -> None:
    _, parsed = report(built.subject(tmp_path), built.team.package.head)
    assert "no history" in parsed.sections["learning"]
    assert "Nobody watched" in parsed.sections["activations"]
    assert "Nothing" in parsed.sections["gradients"]
    assert not (tmp_path / "runs").exists(), "looking makes nothing"


@pytest.mark.parametrize(
    ("task", "key", "targets", "words"),
    [
        (Multilabel(labels=("a", "b")), "labels", (["a"], ["a", "b"]), {"mistakes": "rightly not", "classes": "b"}),
        (
            Regress(low=0, high=10),
            "value",
            (2.0, 8.0),
            {"mistakes": "On the dashed line", "reliability": "does not say how unsure"},
        ),
        (
            Tag(labels=("x",)),
            "spans",
            None,
            {"mistakes": "another label, wrong ends", "classes": "recall", "reliability": "tokens"},
        ),
        (
            Embed(dim=4),
            "label",
            ("good", "bad"),
            {
                "mistakes": "Nearest pairs of two labels",
                "classes": "recall@5",
                "slices": "recall@10",
                "losses": "label of the nearest",
                "why": "cosine with mood-",
            },
        ),
    ],
    ids=["multilabel", "regress", "tag", "embed"],
)
def test_heads_of_other_kinds_get_what_makes_sense_for_them(
    task: Task, key: str, targets: Any, words: dict[str, str], zoo: Zoo, zoo_folder: Path, tmp_path: Path
) -> None:
    team = TeamFolder(tmp_path / "other", task=task, bounds={})
    spans: Any = ([{"start": 0, "end": 2, "label": "x"}], [])
    team.write_labels(mood_with(key, targets or spans))
    subject = collect(zoo, build(zoo, team), team.package, zoo_folder=zoo_folder)
    _, parsed = report(subject, team.package.head)
    for section, word in words.items():
        assert word.lower() in parsed.sections[section].lower()
    assert "speaks for the answer" in parsed.sections["why"]
    assert "star is the published head" in parsed.sections["landscape"]


def test_a_value_that_says_how_unsure_it_is_is_told_how_often_its_intervals_hold(
    zoo: Zoo, zoo_folder: Path, tmp_path: Path
) -> None:
    team = TeamFolder(tmp_path / "other", task=Regress(low=0, high=10), bounds={})
    team.write_labels(mood_with("value", (2.0, 8.0)))
    package = replace(team.package, head=replace(team.package.head, uncertainty="laplace"))
    subject = collect(zoo, build_head(zoo, package, by="tests").version, package, zoo_folder=zoo_folder)
    assert all(each.deviation is not None and each.deviation > 0 for each in subject.judged)
    _, parsed = report(subject, team.package.head)
    assert "should hold" in parsed.sections["reliability"]
    assert "95%" in parsed.sections["reliability"]


@pytest.mark.parametrize("kind", ["vit", "convnext"])
def test_an_image_head_shows_thumbnails_and_where_it_looked(kind: str, tmp_path: Path) -> None:
    model = write_image_model(tmp_path / kind, kind)
    team = TeamFolder(tmp_path / "colour", name="colour", task=Classify(labels=("red", "blue")), bounds={})
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
        team.write_labels(colours(zoo))
        subject = collect(zoo, build(zoo, team), team.package, zoo_folder=tmp_path / "zoo")
        text, parsed = report(subject, team.package.head)
    assert text.count('src="data:image/png;base64,') >= len(subject.judged)
    assert "Grad-CAM" in parsed.sections["why"]
    assert "where it speaks for" in text


def test_the_rebuilt_network_answers_as_the_exports_do(built: Built) -> None:
    subject = built.subject()
    path = rebuild(subject, built.team.package.head)
    for each in subject.judged:
        with torch.no_grad():
            assert np.abs(path(*path.tensors_of(each.row))[0].numpy() - each.output).max() < 1e-4


@pytest.mark.parametrize(
    "changes",
    [{"calibrate": True}, {"uncertainty": "laplace"}, {"uncertainty": "gp"}, {"tail": Tail(blocks=1)}],
    ids=["calibrated", "laplace", "gp", "tail"],
)
def test_so_does_that_of_a_head_that_is_calibrated_or_unsure_or_has_a_tail(
    changes: dict[str, Any], zoo: Zoo, zoo_folder: Path, team: TeamFolder
) -> None:
    package = replace(team.package, head=replace(team.package.head, gate=Gate(), **changes))
    version = build_head(zoo, package, by="tests").version
    subject = collect(zoo, version, package, zoo_folder=zoo_folder)
    path = rebuild(subject, package.head)
    for each in subject.judged:
        with torch.no_grad():
            assert np.abs(path(*path.tensors_of(each.row))[0].numpy() - each.output).max() < 1e-4
    report(subject, package.head)


def test_a_backbone_that_is_gone_costs_explanations_and_no_more(built: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    subject = built.subject()
    gone = subject.backbone.manifest.model_copy(update={"source": "hf:/nowhere/at-all"})
    monkeypatch.setattr(subject.prefix, "backbone", replace(subject.backbone, manifest=gone))
    assert "nowhere" in str(rebuilt_or_why(subject, built.team.package.head))
    _, parsed = report(subject, built.team.package.head)
    assert "nowhere" in parsed.sections["why"]
    assert "macro_f1" in parsed.sections["slices"]


def test_labels_that_changed_since_are_said_to_have(built: Built, tmp_path: Path) -> None:
    changed = TeamFolder(tmp_path / "mood")
    changed.write_labels(mood_lines()[:-1])
    subject = collect(built.zoo, built.version, changed.package, zoo_folder=built.folder)
    assert any("have changed since" in remark for remark in subject.remarks)


def test_labels_of_another_kind_than_the_version_answers_are_refused(built: Built, tmp_path: Path) -> None:
    changed = TeamFolder(tmp_path / "mood")
    changed.write_labels(mood_with("value", (1.0, 2.0)))
    with pytest.raises(InvalidHead, match=r"mood@1 answers classify \(bad, good\); .* inspect a newer version"):
        collect(built.zoo, built.version, changed.package, zoo_folder=built.folder)


def test_a_report_is_written_whole_and_leaves_nothing_else(tmp_path: Path) -> None:
    file = tmp_path / "new" / "report.html"
    write_report("first", file)
    write_report("second", file)
    assert file.read_text() == "second"
    assert [each.name for each in file.parent.iterdir()] == ["report.html"]


def test_the_same_version_gives_the_same_page(built: Built) -> None:
    first, second = (make_report(built.subject(), built.team.package.head) for _ in range(2))
    assert first == second


def test_reading_the_test_split_is_logged_and_reading_the_valid_split_is_not(
    built: Built, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("heads.base.commands.inspect.load_package", lambda _team: built.team.package)
    before = len(built.zoo.readings("mood"))
    for flags, split, readings in (([], "valid", 0), (["--test"], "test", 1)):
        arguments = ["head", "inspect", "mood", *flags, "--out", str(tmp_path / "r.html"), "--zoo", str(built.folder)]
        done = CliRunner().invoke(main, [*arguments, "--json"])
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["split"] == split
        assert len(built.zoo.readings("mood")) - before == readings
    assert "inspect" in built.zoo.readings("mood")[0].reason


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("mood", "--version", "1", "--alias", "prod"), 2, "both say which version"),
        (("mood", "--version", "9"), 1, "has no version or alias '9'"),
        (("moood",), 1, "Did you mean 'mood'?"),
    ],
)
def test_mistakes_end_with_a_line_that_helps(arguments: tuple[str, ...], code: int, message: str, built: Built) -> None:
    done = CliRunner().invoke(main, ["head", "inspect", *arguments, "--zoo", str(built.folder)])
    assert done.exit_code == code
    assert message in done.output


@pytest.mark.slow
def test_the_real_intent_head_is_reported_by_the_command(sample_zoo: Path, tmp_path: Path) -> None:
    out = tmp_path / "intent.html"
    arguments = ["head", "inspect", "intent", "--alias", "prod", "--out", str(out), "--zoo", str(sample_zoo), "--json"]
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    assert (told["version"], told["split"]) == ("intent@1", "valid")
    parsed = ParsedPage(out.read_text(encoding="utf-8"))
    assert list(parsed.sections) == SECTIONS
    assert told["bytes"] == out.stat().st_size < 5_000_000
    assert parsed.addresses == []
    assert "order_status" in parsed.sections["mistakes"]
    assert "refund" in parsed.sections["why"]
