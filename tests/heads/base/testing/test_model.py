"""The built head as tests ask it: the same answers as a server's path gives, whatever else is in the batch."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from heads.base.building.build import build_head
from heads.base.packages import Package
from heads.base.testing import ExpectationMissed, Model, slices
from tests.support.head_packages import TeamFolder
from zoo import Zoo
from zoo.answers import Classification, decode
from zoo.errors import InvalidInput, TooLong
from zoo.export.sessions import OnnxSession
from zoo.preprocessing import collate, load_preprocessor


@pytest.fixture(scope="module")
def built(tiny_zoo_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Zoo, Package]]:
    """A zoo with a head, built once: what follows asks it, and adds nothing but readings."""
    import shutil

    folder = tmp_path_factory.mktemp("model")
    package = TeamFolder(folder / "mood").package
    with Zoo.open(shutil.copytree(tiny_zoo_template, folder / "zoo")) as zoo:
        build_head(zoo, package, by="ann", promote_to=["prod"])
        yield zoo, package


@pytest.fixture
def model(built: tuple[Zoo, Package]) -> Model:
    zoo, package = built
    return Model(zoo, zoo.resolve("mood").version, package, by="ben")


TEXTS = ["w1 w1 w30", "w2 w2 w4 w5 w6 w7 w8 w9", "w1", "w2 w40 w41"]


def test_answers_are_those_of_the_published_stages_one_row_at_a_time(model: Model, built: tuple[Zoo, Package]) -> None:
    zoo, _ = built
    manifest = zoo.manifest(zoo.resolve("mood@prod").version)
    preprocessor = load_preprocessor(manifest.preprocessing, zoo.blobs.get)
    for text, found in zip(TEXTS, model(TEXTS), strict=True):
        row = preprocessor(text)
        known = dict(collate([row], preprocessor))
        for ref in manifest.stages:
            stage = zoo.stage(ref.digest)
            outputs = OnnxSession(zoo.blobs.get(stage.artifacts["onnx"].blob))(known)
            known |= dict(zip((spec.name for spec in stage.outputs), outputs, strict=True))
        expected = decode(manifest.answer, {name: array[0] for name, array in known.items()}, row)
        assert isinstance(found, Classification)
        assert isinstance(expected, Classification)
        assert found.label == expected.label
        assert np.allclose(list(found.scores.values()), list(expected.scores.values()), atol=1e-5)


def test_answers_come_in_the_order_of_the_inputs_and_repeated_ones_are_equal(model: Model) -> None:
    once = model(TEXTS)
    assert model([*reversed(TEXTS), *TEXTS]) == [*reversed(once), *once]


def test_an_input_that_is_refused_is_named_with_the_version(model: Model) -> None:
    with pytest.raises(TooLong, match=r"mood@1 refuses the input 'w1 w1 .*…'. The text has 62 tokens"):
        model(["w1", "w1 " * 60])
    with pytest.raises(InvalidInput):
        model([b"no text"])


def test_minimum_metrics_hold_on_the_valid_split_without_a_reading(model: Model, built: tuple[Zoo, Package]) -> None:
    readings = len(built[0].readings("mood"))
    metrics = slices(model, {"accuracy": 0.8, "short/accuracy": 0.5})
    assert metrics.overall.examples == 20
    assert len(built[0].readings("mood")) == readings


def test_reading_the_test_split_is_logged_once_a_run_with_the_test_that_asked(
    model: Model, built: tuple[Zoo, Package]
) -> None:
    for _ in range(2):
        slices(model, {"accuracy": 0.8}, on="test")
    newest, *_ = built[0].readings("mood")
    assert (newest.by, newest.number) == ("ben", 1)
    assert newest.reason.endswith("::test_reading_the_test_split_is_logged_once_a_run_with_the_test_that_asked")
    assert [reading.by for reading in built[0].readings("mood")].count("ben") == 1


def test_a_missed_bound_is_shown_with_all_bounds_and_the_wrong_answers(model: Model) -> None:
    with pytest.raises(ExpectationMissed) as missed:
        slices(model, {"accuracy": 1.01, "short/accuracy": 0.5})
    text = str(missed.value)
    assert text.startswith("accuracy of mood@1 on the valid split:\n  slice/metric    found  expected")
    assert "at least 1.01  20        0.8" in text, "with Wilson's interval"
    assert "\nWrong there:\n  id" in text


@pytest.mark.parametrize(
    ("bound", "message"),
    [("shrot/accuracy", "Did you mean 'short'"), ("accuarcy", "Did you mean 'accuracy'")],
)
def test_a_bound_on_what_is_not_there_is_an_error(model: Model, bound: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        slices(model, {bound: 0.5})
