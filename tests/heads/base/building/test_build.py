"""Whole builds into a real zoo, on a tiny BERT: what is published, what is kept, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from heads.base import Classify, Multilabel, Regress, Tag
from heads.base.building.build import build_head
from heads.base.building.ingredients import gather
from heads.base.building.phases import Phases
from heads.base.building.prefix import FrozenPrefix, _load_once
from heads.base.declaration import Task
from heads.base.errors import BackboneChanged, InvalidHead
from tests.support.head_packages import TeamFolder, mood_lines, write_learnable_model
from zoo import Zoo
from zoo.answers import Classification, decode
from zoo.errors import Conflict, GateMissed, InvalidLabels, InvalidReference, NotFound, ParityMissed
from zoo.export import ParityBench
from zoo.manifest import MultilabelAnswer
from zoo.preprocessing import collate, load_preprocessor


def build(zoo: Zoo, team: TeamFolder, **options: Any) -> Any:
    return build_head(zoo, team.package, by="tests", **options)


def test_a_build_publishes_a_version_that_pins_what_made_it(zoo: Zoo, team: TeamFolder) -> None:
    done = build(zoo, team, promote_to=("prod",))
    manifest = zoo.manifest(done.version)
    backbone = zoo.backbone("tiny")
    assert (done.status, str(done.version), done.promoted) == ("published", "mood@1", ("prod",))
    assert zoo.resolve("mood@prod").version == done.version
    assert manifest.stages[:2] == backbone.manifest.stages
    assert [stage.name for stage in manifest.stages] == ["tiny/0", "tiny/1", "mood/head"]
    assert manifest.labels.examples == {"train": 40, "valid": 20, "test": 20}
    assert manifest.gate.reached["accuracy"] == manifest.metrics.overall.values["accuracy"] >= 0.9
    assert manifest.metrics.slices["short"].examples > 0
    assert manifest.recipe["epochs"] == 20
    assert set(manifest.environment) >= {"python", "torch", "transformers", "numpy"}
    assert manifest.created_by == "tests"
    for parity in manifest.parity.values():
        assert parity.batch_sizes == (1, 3, 17)
        assert parity.rows > 20, "edge inputs too"
        assert parity.equal_answers == 1
    assert set(manifest.parity) == {"onnx", "torchscript"}
    assert zoo.verify() == []


def test_what_is_served_answers_the_test_split_as_the_gate_measured(mood_zoo: Zoo, team: TeamFolder) -> None:
    from heads.base.building.parity import exported_from

    zoo, manifest = mood_zoo, mood_zoo.manifest(mood_zoo.versions("mood")[0])
    preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
    examples = team.package.labels().for_gate()
    rows = [preprocessor(example.text) for example in examples]
    path = [exported_from(zoo, stage.digest) for stage in manifest.stages]
    scores = ParityBench().run("onnx", path, collate(rows, preprocessor))["scores_NC"]
    found = [decode(manifest.answer, {"scores_NC": row}, each) for row, each in zip(scores, rows, strict=True)]
    right = [
        isinstance(each, Classification) and each.label == example.target
        for each, example in zip(found, examples, strict=True)
    ]
    assert np.mean(right) == manifest.metrics.overall.values["accuracy"]


def test_an_unchanged_package_is_not_built_again_but_can_still_be_promoted(mood_zoo: Zoo, team: TeamFolder) -> None:
    zoo, (first,) = mood_zoo, mood_zoo.versions("mood")
    again = build(zoo, team)
    assert (again.status, again.version, again.promoted) == ("unchanged", first, ())
    assert build(zoo, team, promote_to=("prod",)).promoted == ("prod",)
    assert build(zoo, team, promote_to=("prod",)).promoted == ()
    assert [each.epoch for each in zoo.promotions("mood", "prod")] == [1]


def test_every_ingredient_makes_another_version_and_the_body_stays_the_same(mood_zoo: Zoo, team: TeamFolder) -> None:
    zoo, body = mood_zoo, mood_zoo.backbone("tiny").manifest.stages
    team.write_recipe("epochs = 21\nlearning_rate = 0.03\n")
    assert str(build(zoo, team).version) == "mood@2"
    team.write_labels([line for line in mood_lines() if line["id"] != "mood-0000"])
    second = zoo.manifest(build(zoo, team).version)
    assert str(zoo.versions("mood")[0]) == "mood@3"
    assert second.parents == (zoo.versions("mood")[1].digest,)
    assert second.stages[:2] == body == zoo.backbone("tiny").manifest.stages


def test_what_does_not_build_anything_does_not_count_as_a_change(zoo: Zoo, team: TeamFolder) -> None:
    before = gather(zoo, team.package).key
    (team.path / "test_mood.py").write_text("assert True\n")
    (team.path / "README.md").write_text("# mood\n")
    assert gather(zoo, team.package).key == before
    (team.path / "head.py").write_text("HEAD = None\n")
    assert gather(zoo, team.package).key != before


def test_the_same_ingredients_give_the_same_stage(mood_zoo: Zoo, team: TeamFolder) -> None:
    zoo, first = mood_zoo, mood_zoo.manifest(mood_zoo.versions("mood")[0])
    again = zoo.manifest(build(zoo, team, force=True).version)
    assert again.stages == first.stages
    assert again.metrics == first.metrics


def test_a_head_below_its_gate_is_not_published(zoo: Zoo, team: TeamFolder) -> None:
    team.bounds = {"accuracy": 0.5, "short/accuracy": 1.01}
    with pytest.raises(GateMissed, match=r"short/accuracy: found 1\.000 on \d+ examples, expected at least 1\.010"):
        build(zoo, team, promote_to=("prod",))
    assert zoo.heads() == []
    with pytest.raises(NotFound):
        zoo.versions("mood")


def test_frozen_stages_run_once_per_input_over_all_builds(
    zoo: Zoo, team: TeamFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows: list[int] = []
    run = FrozenPrefix.run

    def counted(self: FrozenPrefix, batch: Any) -> Any:
        rows.append(len(batch["ids_NT"]))
        return run(self, batch)

    monkeypatch.setattr(FrozenPrefix, "run", counted)
    build(zoo, team)
    assert sum(rows) == 80
    team.write_recipe("epochs = 3\nlearning_rate = 0.05\n")
    team.bounds = {}
    build(zoo, team)
    assert sum(rows) == 80, "all features were cached"


def test_training_never_sees_the_test_split(mood_zoo: Zoo, team: TeamFolder) -> None:
    zoo, honest = mood_zoo, mood_zoo.manifest(mood_zoo.versions("mood")[0])
    lines = mood_lines()
    for line in lines:
        if line["split"] == "test":
            line["label"] = "good" if line["label"] == "bad" else "bad"
    team.write_labels(lines)
    team.bounds = {}
    spoilt = zoo.manifest(build(zoo, team).version)
    assert spoilt.stages == honest.stages, "the same weights, whatever the test labels say"
    assert spoilt.metrics.overall.values["accuracy"] == pytest.approx(1 - honest.metrics.overall.values["accuracy"])


def retargeted(key: str, good: Any, bad: Any) -> list[dict[str, Any]]:
    lines = mood_lines()
    for line in lines:
        label = line.pop("label")
        line[key] = good if label == "good" else bad
    return lines


def test_every_kind_of_head_builds_and_may_start_after_any_stage(zoo: Zoo, tmp_path: Path) -> None:
    body = zoo.backbone("tiny").manifest.stages
    first_word = {"start": 0, "end": 2}
    kinds: list[tuple[Task, Any, list[dict[str, Any]], int]] = [
        (Multilabel(labels=("good", "bad")), "last", retargeted("labels", ["good"], ["bad", "good"]), 3),
        (Regress(low=0, high=10), "last", retargeted("value", 8, 2), 3),
        (Tag(labels=("word",)), 0, retargeted("spans", [{**first_word, "label": "word"}], []), 2),
    ]
    for task, attach, lines, stages in kinds:
        team = TeamFolder(tmp_path / task.kind, name=task.kind, task=task, attach=attach, bounds={})
        team.write_labels(lines)
        manifest = zoo.manifest(build(zoo, team).version)
        assert manifest.answer.kind == task.kind
        assert len(manifest.stages) == stages
        assert manifest.stages[:-1] == body[: stages - 1]
        assert all(parity.max_abs_diff <= parity.tolerance for parity in manifest.parity.values())
        if isinstance(manifest.answer, MultilabelAnswer):
            assert all(0 < threshold < 1 for threshold in manifest.answer.thresholds)


def test_a_backbone_whose_source_changed_is_not_trained_on(zoo: Zoo, team: TeamFolder, tiny_model: Path) -> None:
    _load_once.cache_clear()
    held = {file: file.read_bytes() for file in tiny_model.iterdir() if file.is_file()}
    try:
        write_learnable_model(tiny_model, seed=1)
        with pytest.raises(BackboneChanged, match=r"tiny@1 was added from .* now gives other weights"):
            build(zoo, team)
    finally:
        for file, data in held.items():
            file.write_bytes(data)
        _load_once.cache_clear()
    assert zoo.heads() == []


def test_declarations_that_do_not_fit_are_refused_before_any_work(zoo: Zoo, team: TeamFolder) -> None:
    team.attach = 2
    with pytest.raises(InvalidHead, match="attached to stage 2 of tiny@1, which has stages 0 to 1"):
        build(zoo, team)
    team.attach = "last"
    team.task = Multilabel(labels=("good", "bad"))
    team.bounds = {}
    with pytest.raises(InvalidHead, match="has targets label; the multilabel head 'mood' takes 'labels'"):
        build(zoo, team)
    team.task = Regress(low=0, high=1)
    team.write_labels(retargeted("value", 1, 2))
    with pytest.raises(InvalidHead, match=r"has the value 2.0; the head declares 0 to 1"):
        build(zoo, team)


def test_a_text_that_is_too_long_names_its_example(zoo: Zoo, team: TeamFolder) -> None:
    lines = mood_lines()
    lines[3]["text"] = "w1 " * 60
    team.write_labels(lines)
    with pytest.raises(InvalidLabels, match=r"the input of 'mood-0003' is refused. .* at most"):
        build(zoo, team)


def test_a_test_input_that_cannot_be_read_is_named_before_anything_is_trained(zoo: Zoo, team: TeamFolder) -> None:
    lines = mood_lines()
    last = max(number for number, line in enumerate(lines) if line["split"] == "test")
    lines[last]["text"] = "w1 " * 60
    team.write_labels(lines)
    seen: list[str] = []
    with pytest.raises(InvalidLabels, match=rf"labels\.jsonl:{last + 1}: the input of .* is refused"):
        build(zoo, team, phases=Phases(lambda name, _done, _total: seen.append(name)))
    assert "train" not in seen
    assert not zoo.readings("mood"), "nothing was read that is to be counted"


def test_what_is_certain_to_fail_in_the_end_fails_before_any_work(zoo: Zoo, team: TeamFolder) -> None:
    with pytest.raises(InvalidReference, match="'Prod' cannot be an alias"):
        build(zoo, team, promote_to=("Prod",))
    team.bounds = {"shrt/accuracy": 0.5}
    with pytest.raises(InvalidHead, match=r"no test example is in the slice 'shrt'\. Did you mean 'short'"):
        build(zoo, team)
    team.bounds, team.task = {}, Classify(labels=("good", "bad", "ugly"))
    with pytest.raises(InvalidHead, match=r"'mood' declares the label 'ugly', and no training example has it"):
        build(zoo, team)
    assert not (team.path.parent / "zoo" / "features.sqlite").exists(), "no feature was computed"


def test_a_head_of_another_team_is_refused_before_any_work(mood_zoo: Zoo, tmp_path: Path) -> None:
    rival = TeamFolder(tmp_path / "rival", name="mood", team="rival")
    rival.write_recipe("epochs = 19\n")
    phases = Phases()
    with pytest.raises(Conflict, match="'mood' belongs to team 'mood'; team 'rival' cannot publish"):
        build(mood_zoo, rival, phases=phases)
    assert "load torch" not in phases.seconds
    assert len(mood_zoo.versions("mood")) == 1


def test_a_head_says_how_far_its_exports_may_be_from_torch(zoo: Zoo, team: TeamFolder) -> None:
    team.parity_tolerance = 1e-12
    with pytest.raises(ParityMissed, match=r"raise parity_tolerance in the head's declaration"):
        build(zoo, team)
    assert zoo.heads() == []
    team.parity_tolerance = 0.01
    manifest = zoo.manifest(build(zoo, team).version)
    assert {parity.tolerance for parity in manifest.parity.values()} == {0.01}


def test_of_two_builds_of_the_same_things_at_once_one_is_published(zoo: Zoo, team: TeamFolder) -> None:
    other: list[Any] = []

    def build_meanwhile(phase: str, _done: int, _total: int) -> None:
        if phase == "export" and not other:
            other.append(None)
            other[0] = build(zoo, team, promote_to=("prod",))

    done = build(zoo, team, promote_to=("prod",), phases=Phases(build_meanwhile))
    assert (other[0].status, other[0].promoted) == ("published", ("prod",))
    assert (done.status, done.version, done.promoted) == ("unchanged", other[0].version, ())
    assert len(zoo.versions("mood")) == 1


def test_a_label_that_is_not_declared_names_an_example_of_it(zoo: Zoo, team: TeamFolder) -> None:
    lines = mood_lines()
    lines[5]["label"] = "godo"
    team.write_labels(lines)
    with pytest.raises(InvalidHead, match=r"'mood-0005' has the label 'godo', .* Did you mean 'good'"):
        build(zoo, team)


def test_an_image_that_is_not_stored_names_its_example(zoo: Zoo, team: TeamFolder) -> None:
    lines = [{("image" if key == "text" else key): value for key, value in line.items()} for line in mood_lines()]
    team.write_labels(lines)
    with pytest.raises(InvalidLabels, match=r"the image of 'mood-\d+' is not in the zoo.*zoo labels put"):
        build(zoo, team)
