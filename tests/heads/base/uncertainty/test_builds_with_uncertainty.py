"""Heads that declare certainty, built into a real zoo: what is published, served and measured."""

from pathlib import Path
from typing import Any

import pytest
from hydrazoo.client import Client

from heads.base import Classify, Gate, Regress, Tail
from heads.base.building.build import build_head
from heads.base.building.parity import exported_from
from heads.base.declaration import Head
from heads.base.packages import Package
from tests.support.head_packages import TeamFolder, mood_lines
from tests.support.serve_command import serving
from zoo import Zoo
from zoo.errors import GateMissed
from zoo.export import ParityBench
from zoo.manifest import VersionManifest
from zoo.preprocessing import collate, load_preprocessor


def package(team: TeamFolder, **certainty: Any) -> Package:
    head = Head(name="mood", team="mood", backbone="tiny", task=team.task, **certainty)
    return Package(head=head, folder=team.path)


def built(zoo: Zoo, team: TeamFolder, **certainty: Any) -> VersionManifest:
    return zoo.manifest(build_head(zoo, package(team, **certainty), by="tests", promote_to=("prod",)).version)


@pytest.fixture
def unsure(team: TeamFolder) -> TeamFolder:
    """A team some of whose labels are wrong, so that there is something to be unsure of."""
    lines = mood_lines()
    for line in lines[::11]:
        line["label"] = "good" if line["label"] == "bad" else "bad"
    team.write_labels(lines)
    return team


def test_a_calibrated_head_is_published_with_its_errors_before_and_after(zoo: Zoo, unsure: TeamFolder) -> None:
    plain, calibrated = built(zoo, unsure), built(zoo, unsure, calibrate=True)
    values = calibrated.metrics.overall.values
    assert {"ece", "ece_plain", "nll", "nll_plain"} <= values.keys()
    assert plain.metrics.overall.values.items() <= values.items(), "no answer changed"
    assert [spec.name for spec in calibrated.signature.outputs] == ["scores_NC"]
    assert calibrated.answer == plain.answer
    assert plain.build_key != calibrated.build_key
    assert calibrated.stages[:2] == plain.stages[:2]


def test_a_gate_holds_a_head_to_its_calibration_error(zoo: Zoo, unsure: TeamFolder) -> None:
    with pytest.raises(GateMissed, match=r"ece: found 0\.\d+ on 20 examples, expected at most 0\.001"):
        built(zoo, unsure, calibrate=True, gate=Gate(bounds={"ece": 0.001}))
    assert zoo.heads() == []
    passed = built(zoo, unsure, calibrate=True, gate=Gate(bounds={"ece": 0.9}))
    assert passed.gate.reached == {"ece": passed.metrics.overall.values["ece"]}


def test_nothing_is_fitted_on_the_test_split(zoo: Zoo, unsure: TeamFolder) -> None:
    honest = built(zoo, unsure, uncertainty="gp")
    lines = mood_lines()
    for number, line in enumerate(lines):
        swapped = (number % 11 == 0) != (line["split"] == "test")
        line["label"] = ("good", "bad")[(line["label"] == "bad") != swapped]
    unsure.write_labels(lines)
    spoilt = built(zoo, unsure, uncertainty="gp")
    assert spoilt.stages == honest.stages
    assert getattr(honest.answer, "uncertainty", None) == "uncertainty_N1"
    assert spoilt.metrics.overall.values["ece"] != honest.metrics.overall.values["ece"]


def test_behind_a_tail_too_an_uncertainty_is_an_output_that_the_answer_names(zoo: Zoo, unsure: TeamFolder) -> None:
    unsure.write_recipe("epochs = 4\nlearning_rate = 0.01\n")
    manifest = built(zoo, unsure, uncertainty="laplace", tail=Tail(blocks=1))
    assert [stage.name for stage in manifest.stages] == ["tiny/0", "mood/1", "mood/head"]
    assert [spec.name for spec in manifest.signature.outputs] == ["scores_NC", "uncertainty_N1"]
    assert getattr(manifest.answer, "uncertainty", None) == "uncertainty_N1"
    assert all(parity.max_abs_diff <= 1e-5 for parity in manifest.parity.values())
    assert {"ece", "nll"} <= manifest.metrics.overall.values.keys()


def test_a_value_has_a_deviation_in_its_own_unit(zoo: Zoo, team: TeamFolder) -> None:
    lines = mood_lines()
    for number, line in enumerate(lines):
        line["value"] = (80.0 if line.pop("label") == "good" else 20.0) + number % 5
    team.write_labels(lines)
    team.task = Regress(low=0, high=100)
    manifest = built(zoo, team, uncertainty="laplace", parity_tolerance=1e-2)
    assert {"nll", "nll_plain", "within_1sd"} <= manifest.metrics.overall.values.keys()
    assert getattr(manifest.answer, "uncertainty", None) == "uncertainty_N1"


def test_another_teams_inputs_are_told_apart_without_its_labels(zoo: Zoo, unsure: TeamFolder) -> None:
    unsure.task = Classify(labels=("good", "bad"))
    values = built(zoo, unsure, calibrate=True, ood="intent").metrics.overall.values
    assert 0 <= values["ood_auroc"] <= 1
    assert 0 <= values["ood_auroc_plain"] <= 1


def test_a_client_is_told_how_unsure_an_answer_is(zoo: Zoo, zoo_folder: Path, unsure: TeamFolder) -> None:
    manifest = built(zoo, unsure, uncertainty="gp")
    preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
    texts = ["w1 w1 w12", "w2 w2 w34 w56", "w77 w78 w79 w80 w81"]
    path = [exported_from(zoo, stage.digest) for stage in manifest.stages]
    rows = [preprocessor(text) for text in texts]
    expected = [ParityBench().run("onnx", path, collate([row], preprocessor))["uncertainty_N1"].item() for row in rows]
    with serving(zoo_folder) as server, Client(server.address) as client:
        found = [client.predict(heads="mood", text=text)["mood"].uncertainty for text in texts]
    assert found == pytest.approx(expected, abs=1e-4)
    assert len(set(found)) == len(texts)
