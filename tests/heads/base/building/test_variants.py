"""Other precisions of a head: measured like fp32, published where they are good enough, and said where they are not."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from heads.base import Classify, Gate, Head, Regress, Tail
from heads.base.building.build import build_head
from heads.base.building.parity import Proof, exported_from
from heads.base.building.variants import SPREAD, Variants, judge_variants, variant_tolerances
from heads.base.declaration import Task
from heads.base.errors import FormsFixed, InvalidHead
from tests.support.head_packages import TeamFolder
from zoo import Zoo
from zoo.answers import Classification, decode
from zoo.commands import main
from zoo.export import ParityBench
from zoo.labels import Example, Target
from zoo.manifest import Metrics, Parity, SliceMetrics
from zoo.preprocessing import collate, load_preprocessor

MOOD = Classify(labels=("good", "bad"))
SCALE = Regress(low=0, high=10)


@pytest.fixture(scope="module")
def many_forms_template(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("forms") / "zoo"
    words = ["backbone", "add", f"hf:{tiny_model}", "--name", "tiny", "--split", "2", "--zoo", str(folder)]
    added = CliRunner().invoke(main, [*words, "--precision", "int8", "--precision", "fp16"])
    assert added.exit_code == 0, added.output
    return folder


@pytest.fixture
def zoo_folder(many_forms_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(many_forms_template, tmp_path / "zoo"))


def test_stages_of_a_backbone_are_stored_in_every_precision_asked(zoo: Zoo) -> None:
    for ref in zoo.backbone("tiny").manifest.stages:
        artifacts = zoo.stage(ref.digest).artifacts
        assert set(artifacts) == {"onnx", "torchscript", "safetensors", "onnx-int8", "onnx-fp16"}
        assert artifacts["onnx-fp16"].size_bytes < artifacts["onnx"].size_bytes


def test_version_records_parity_and_metrics_of_each_precision(zoo: Zoo, team: TeamFolder) -> None:
    team.variant_tolerance = 0.5
    done = build_head(zoo, team.package, by="tests")
    manifest = zoo.manifest(done.version)
    assert set(manifest.variants) == {"onnx-int8", "onnx-fp16"}
    assert set(manifest.parity) == {"onnx", "torchscript", "onnx-int8", "onnx-fp16"}
    for form, metrics in manifest.variants.items():
        assert metrics.overall.examples == manifest.metrics.overall.examples
        assert metrics.slices.keys() == manifest.metrics.slices.keys()
        assert 1e-9 < manifest.parity[form].max_abs_diff <= manifest.parity[form].tolerance
        assert manifest.parity[form].batch_sizes == (1, 3, 17)
    assert done.notes == ("its test split was read once since it last changed",)
    assert zoo.verify() == []


def test_head_itself_is_stored_in_fp32_and_for_many_at_once(zoo: Zoo, team: TeamFolder) -> None:
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    head = zoo.stage(manifest.stages[-1].digest)
    assert set(head.artifacts) == {"onnx", "torchscript", "safetensors", "onnx-group"}


def test_copies_in_a_tail_are_stored_and_judged_in_the_precisions_of_their_originals(
    zoo: Zoo, team: TeamFolder
) -> None:
    team.tail, team.variant_tolerance = Tail(blocks=2), 0.5
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    copied = zoo.stage(manifest.stages[1].digest)
    assert set(copied.artifacts) == {"onnx", "torchscript", "safetensors", "onnx-int8", "onnx-fp16"}
    assert set(manifest.variants) == {"onnx-int8", "onnx-fp16"}


def test_metrics_of_a_precision_are_those_of_the_path_as_it_is_served(zoo: Zoo, team: TeamFolder) -> None:
    manifest = zoo.manifest(build_head(zoo, team.package, by="tests").version)
    preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
    examples = team.package.labels().for_gate()
    path = [exported_from(zoo, stage.digest) for stage in manifest.stages]
    bench, right = ParityBench(), 0
    for example in examples:
        row = preprocessor(example.text)
        scores_NC = bench.run("onnx-fp16", path, collate([row], preprocessor))["scores_NC"]
        answer = decode(manifest.answer, {"scores_NC": scores_NC[0]}, row)
        assert isinstance(answer, Classification)
        right += answer.label == example.target
    assert right / len(examples) == manifest.variants["onnx-fp16"].overall.values["accuracy"]


def test_precision_that_is_not_good_enough_is_left_out_and_fp32_is_published(
    zoo: Zoo, team: TeamFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(SPREAD, "onnx-int8", 1e-12)
    done = build_head(zoo, team.package, by="tests", promote_to=("prod",))
    manifest = zoo.manifest(done.version)
    assert set(manifest.variants) == {"onnx-fp16"}
    assert set(manifest.parity) == {"onnx", "torchscript", "onnx-fp16"}
    _, note = done.notes
    assert note.startswith("onnx-int8 is left out: its outputs are up to ")
    assert note.endswith(" from the torch model's; allowed is 1e-12.")


def test_backbone_that_is_there_in_a_precision_is_not_added_again(tiny_model: Path, zoo_folder: Path) -> None:
    words = ["backbone", "add", f"hf:{tiny_model}", "--name", "tiny", "--split", "2", "--zoo", str(zoo_folder)]
    for asked in ([], ["--precision", "int8"]):
        found = json.loads(CliRunner().invoke(main, [*words, *asked, "--json"]).stdout)
        assert (found["status"], found["backbone"]) == ("unchanged", "tiny@1")
        assert found["forms"] == ["onnx", "onnx-fp16", "onnx-int8", "safetensors", "torchscript"]


def test_precision_for_stages_that_are_there_without_it_is_refused_and_says_what_to_do(
    tiny_model: Path, tiny_zoo_template: Path, tmp_path: Path
) -> None:
    from heads.base.backbones import add_backbone

    with (
        Zoo.open(shutil.copytree(tiny_zoo_template, tmp_path / "old")) as zoo,
        pytest.raises(
            FormsFixed, match=r"'tiny/0' is in the zoo already, without onnx-int8; .* to a new zoo, or cut it"
        ),
    ):
        add_backbone(zoo, f"hf:{tiny_model}", split=(2,), name="tiny", precisions=["onnx-int8"], key=None)


@pytest.mark.parametrize("tolerance", [-0.1, float("nan"), float("inf")])
def test_variant_tolerance_is_a_number_from_0_on(tolerance: float) -> None:
    with pytest.raises(InvalidHead, match=r"'variant_tolerance' is 0 or more, for example 0\.01; got"):
        Head(name="mood", team="mood", task=MOOD, variant_tolerance=tolerance)


def test_variant_tolerance_is_an_ingredient() -> None:
    first, second = (Head(name="mood", team="mood", task=MOOD, variant_tolerance=each) for each in (0.01, 0.02))
    assert first.describe() != second.describe()


# What is good enough, on made-up answers: ten examples, of which the first two are in a slice.

EXAMPLES = [
    Example(
        id=f"{number}",
        text="",
        image="",
        split="test",
        slices=("hard",) if number < 2 else (),
        kind="label",
        target="good",
    )
    for number in range(10)
]


def proof(answers: Sequence[Target], *, difference: float = 0.1, tolerance: float = 0.5) -> Proof:
    parity = Parity(rows=10, batch_sizes=(1,), max_abs_diff=difference, equal_answers=1, tolerance=tolerance)
    return Proof(parity={"onnx-int8": parity}, answers={"onnx-int8": list(answers)} if difference < 9 else {})


def judged(head: Head, fp32: dict[str, float], found: Proof, *, hard: dict[str, float] | None = None) -> Variants:
    metrics = Metrics(
        overall=SliceMetrics(examples=10, values=fp32), slices={"hard": SliceMetrics(examples=2, values=hard or {})}
    )
    return judge_variants(head, EXAMPLES, metrics, found)


def mood(bounds: dict[str, float], tolerance: float = 0.01) -> Head:
    return Head(name="mood", team="mood", task=MOOD, gate=Gate(bounds=bounds), variant_tolerance=tolerance)


def with_mistakes(count: int) -> Sequence[Target]:
    return ["bad"] * count + ["good"] * (10 - count)


def test_drop_of_a_gated_metric_is_told_with_both_values_and_what_is_allowed() -> None:
    found = judged(mood({"accuracy": 0.5}, 0.05), {"accuracy": 1.0}, proof(with_mistakes(1)))
    assert found.metrics == {}
    (line,) = found.left_out
    assert line == (
        "onnx-int8 is left out: accuracy is 0.900 in it and 1.000 in fp32; variant_tolerance is 0.05, "
        "and the gate's bound is 0.5."
    )


def test_drop_of_just_the_tolerance_is_published() -> None:
    found = judged(mood({"accuracy": 0.5}, 0.1), {"accuracy": 1.0}, proof(with_mistakes(1)))
    assert found.left_out == ()
    assert found.metrics["onnx-int8"].overall.values["accuracy"] == 0.9


def test_drop_on_a_slice_counts() -> None:
    head = mood({"hard/accuracy": 0.2}, 0.1)
    found = judged(head, {"accuracy": 1.0}, proof(with_mistakes(1)), hard={"accuracy": 1.0})
    assert "hard/accuracy is 0.500 in it and 1.000 in fp32" in found.left_out[0]


def test_precision_below_the_gate_is_left_out_however_little_it_fell() -> None:
    found = judged(mood({"accuracy": 0.95}, 0.5), {"accuracy": 1.0}, proof(with_mistakes(1)))
    assert "accuracy is 0.900 in it" in found.left_out[0]
    assert "the gate's bound is 0.95" in found.left_out[0]


def test_without_a_gate_the_first_metric_counts() -> None:
    assert "macro_f1 is" in judged(mood({}), {"macro_f1": 1.0, "accuracy": 1.0}, proof(with_mistakes(1))).left_out[0]


def test_error_that_grows_is_a_drop() -> None:
    head = Head(name="mood", team="mood", task=SCALE, gate=Gate(bounds={"mae": 5}), variant_tolerance=0.1)
    examples = [replace(example, slices=(), kind="value", target=1.0) for example in EXAMPLES[:4]]
    fp32 = Metrics(overall=SliceMetrics(examples=4, values={"mae": 1.0}), slices={})
    assert judge_variants(head, examples, fp32, proof([2.05] * 4)).left_out == ()
    assert "mae is 1.150 in it and 1.000 in fp32" in judge_variants(head, examples, fp32, proof([2.15] * 4)).left_out[0]
    assert judge_variants(head, examples, fp32, proof([1.0] * 4)).left_out == ()


@pytest.mark.parametrize("difference", [0.6, float("inf")])
def test_precision_far_from_torch_is_left_out_whatever_it_answers(difference: float) -> None:
    found = judged(mood({"accuracy": 0.5}), {"accuracy": 1.0}, proof(with_mistakes(0), difference=difference * 20))
    assert found.metrics == {}
    assert found.left_out[0].endswith("from the torch model's; allowed is 0.5.")


@given(st.integers(0, 10), st.floats(0, 1), st.floats(0, 1))
def test_what_is_published_is_never_further_below_fp32_than_allowed_nor_below_the_gate(
    mistakes: int, tolerance: float, bound: float
) -> None:
    found = judged(mood({"accuracy": bound}, tolerance), {"accuracy": 1.0}, proof(with_mistakes(mistakes)))
    reached = 1 - mistakes / 10
    assert bool(found.metrics) == (reached >= 1 - tolerance - 1e-9 and reached >= bound - 1e-9)
    assert bool(found.left_out) != bool(found.metrics)


@pytest.mark.parametrize(("task", "span"), [(MOOD, 1.0), (SCALE, 10.0)])
def test_parity_of_a_precision_is_held_to_a_share_of_the_range_of_the_answer(zoo: Zoo, task: Task, span: float) -> None:
    head = Head(name="mood", team="mood", task=task)
    stages = [zoo.stage(ref.digest) for ref in zoo.backbone("tiny").manifest.stages]
    assert variant_tolerances(head, stages) == {form: share * span for form, share in SPREAD.items()}
