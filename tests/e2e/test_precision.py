"""MiniLM in int8 and a sample head on it, by the commands that a person types; served in the precision asked for."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hydrazoo.client import Client

from tests.support.sample_zoo import TorchHead, add_minilm, texts_of_head, zoo_command
from tests.support.serve_command import serving

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def zoo_in_int8(sample_zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo of its own, but for the features: they are of fp32, and those that the sample heads were trained on."""
    folder = tmp_path_factory.mktemp("int8") / "zoo"
    add_minilm(folder, "--precision", "int8")
    shutil.copy(sample_zoo / "features.sqlite", folder)
    zoo_command(folder, "head", "train", "intent", "--promote", "prod")
    return folder


def test_head_is_served_in_int8_where_that_is_asked_and_published(zoo_in_int8: Path) -> None:
    torch_head = TorchHead(zoo_in_int8, "intent")
    texts = texts_of_head("intent", "test", 24)
    assert "onnx-int8" in torch_head.manifest.variants
    allowed = torch_head.manifest.parity["onnx-int8"].tolerance
    with serving(zoo_in_int8, "--precision", "int8") as server, Client(server.address) as client:
        assert [version["precision"] for version in server.started["versions"]] == ["int8"]
        found = [client.predict(heads="intent", text=text)["intent"] for text in texts]
    labels = torch_head.manifest.answer.labels  # type: ignore[union-attr] # a classifying head has them
    expected = [torch_head(text) for text in texts]
    differences = [
        max(abs(answer.scores[label] - score) for label, score in zip(labels, scores_C, strict=True))
        for answer, scores_C in zip(found, expected, strict=True)
    ]
    assert 1e-5 < max(differences) < allowed, "it is int8, and near"
    right = [answer.label == labels[int(np.argmax(scores_C))] for answer, scores_C in zip(found, expected, strict=True)]
    assert np.mean(right) > 0.85


def test_on_a_cpu_nobody_gets_int8_unasked(zoo_in_int8: Path) -> None:
    with serving(zoo_in_int8) as server:
        assert [version["precision"] for version in server.started["versions"]] == ["fp32"]
