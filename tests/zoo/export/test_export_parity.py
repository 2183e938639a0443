from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from backbone import LoadedBackbone, Stage, load_backbone
from tests.support.export_stages import BODY_EXAMPLE, Body, Pooled
from tests.support.tiny_models import write_image_model, write_text_model
from zoo.errors import ParityMissed
from zoo.export import (
    ExportedStage,
    ParityBench,
    check_parity,
    cycle_batches,
    export_path,
    export_stage,
    measure_parity,
)
from zoo.export.sessions import OnnxSession

Arrays = dict[str, NDArray[Any]]


def text_batch(lengths: list[int], words: int = 50) -> Arrays:
    generator = np.random.default_rng(sum(lengths))
    mask_NT = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int64)
    return {"ids_NT": generator.integers(4, words, mask_NT.shape) * mask_NT, "mask_NT": mask_NT}


def ragged_batches(words: int = 50) -> list[Arrays]:
    lengths = [1 + 7 * number % 23 for number in range(42)]
    return [text_batch(batch, words) for batch in cycle_batches(lengths)]


def classes(outputs: Mapping[str, NDArray[Any]]) -> list[int]:
    return list(outputs["scores_NC"].argmax(1))


@pytest.fixture(scope="module")
def path() -> list[Stage]:
    torch.manual_seed(1)
    return [Body(first=True).eval(), Body(first=False).eval(), Pooled().eval()]


@pytest.fixture(scope="module")
def exported(path: list[Stage]) -> list[ExportedStage]:
    return list(export_path(path, example=BODY_EXAMPLE))


def test_parity_is_measured_per_format_over_every_row_and_batch_size(
    path: list[Stage], exported: list[ExportedStage]
) -> None:
    measured = measure_parity(path, exported, ragged_batches(), classes)
    assert set(measured) == {"onnx", "torchscript"}
    for parity in measured.values():
        assert (parity.rows, parity.batch_sizes, parity.equal_answers) == (42, (1, 3, 17), 1.0)
        assert parity.max_abs_diff < 1e-5
    check_parity(measured)


def test_difference_between_the_exports_and_the_model_is_found_and_refused(
    path: list[Stage], exported: list[ExportedStage]
) -> None:
    changed = Pooled().eval()
    changed.load_state_dict(path[2].state_dict())
    with torch.no_grad():
        changed.score.bias[0] += 2
    measured = measure_parity([*path[:2], changed], exported, ragged_batches(), classes, tolerance=1e-3)
    assert measured["onnx"].max_abs_diff > 0.1
    assert measured["onnx"].equal_answers < 1
    with pytest.raises(ParityMissed, match=r"onnx export differs .* by up to .*allowed is 1\.00e-03"):
        check_parity(measured)


def test_difference_is_taken_at_the_end_of_the_path(path: list[Stage], exported: list[ExportedStage]) -> None:
    body = [*path[:2]]
    measured = measure_parity(body, exported[:2], ragged_batches(), lambda outputs: [0] * len(outputs["ids_NT"]))
    arrays = ragged_batches()[0]
    ran = ParityBench().run("onnx", exported[:2], arrays)["tokens_NTD"]
    with torch.no_grad():
        (first,) = path[0](*(torch.from_numpy(arrays[name]) for name in ("ids_NT", "mask_NT")))
        (second,) = path[1](first, torch.from_numpy(arrays["mask_NT"]))
    assert measured["onnx"].max_abs_diff >= float(np.abs(ran - second.numpy()).max())


class NanForShortText(Pooled):
    """Right at the sizes of an export, and not a number where a row has no token."""

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        (scores_NC,) = super().forward(*tensors)
        return (scores_NC / tensors[1].sum(1, keepdim=True).clamp(max=1).to(scores_NC.dtype),)


def test_not_a_number_is_refused_and_not_averaged_away(path: list[Stage], exported: list[ExportedStage]) -> None:
    head = export_stage(
        NanForShortText().eval(), example={"tokens_NTD": torch.randn(2, 3, 8), "mask_NT": torch.ones(2, 3).long()}
    )
    empty = {"ids_NT": np.zeros((2, 3), np.int64), "mask_NT": np.array([[1, 1, 1], [0, 0, 0]])}
    with pytest.raises(ParityMissed, match="NaN or an infinity"):
        measure_parity(path, [*exported[:2], head], [empty], classes)


def test_heads_that_share_stages_share_what_the_bench_loaded(
    path: list[Stage], exported: list[ExportedStage], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[int] = []

    def counting(data: bytes) -> OnnxSession:
        loaded.append(len(data))
        return OnnxSession(data)

    monkeypatch.setattr("zoo.export.parity.OnnxSession", counting)
    torch.manual_seed(2)
    other = Pooled().eval()
    head = export_stage(other, example={"tokens_NTD": torch.randn(2, 3, 8), "mask_NT": torch.ones(2, 3).long()})
    bench = ParityBench()
    measure_parity(path, exported, ragged_batches(), classes, bench=bench)
    measure_parity([*path[:2], other], [*exported[:2], head], ragged_batches(), classes, bench=bench)
    assert len(loaded) == 4


@given(st.integers(1, 200))
def test_every_row_is_measured_and_every_batch_size_occurs(count: int) -> None:
    batches = cycle_batches(list(range(count)))
    assert {len(batch) for batch in batches} == {1, 3, 17}
    assert {row for batch in batches for row in batch} == set(range(count))
    assert sum(map(len, batches)) == max(count, 21)


def check_body(backbone: LoadedBackbone, batches: list[Arrays]) -> None:
    exported = list(export_path(backbone.stages, example=backbone.example))
    for stage in exported:
        # A device in the code would keep the stage from running anywhere else.
        assert b"torch.device(" not in stage.artifact("torchscript")
    rows = next(iter(backbone.example))
    measured = measure_parity(backbone.stages, exported, batches, lambda outputs: [0] * len(outputs[rows]))
    check_parity(measured)


@pytest.mark.parametrize(
    ("family", "layers"),
    [
        ("bert", "num_hidden_layers"),
        ("distilbert", "n_layers"),
        ("electra", "num_hidden_layers"),
        ("mpnet", "num_hidden_layers"),
        ("roberta", "num_hidden_layers"),
    ],
)
def test_text_families_export_as_they_compute(family: str, layers: str, tmp_path: Path) -> None:
    changes: dict[str, Any] = {layers: 1}
    folder = write_text_model(tmp_path / "model", family, **changes)
    check_body(load_backbone(f"hf:{folder}"), ragged_batches(words=100))


@pytest.mark.parametrize("kind", ["deit", "convnext"])
def test_image_families_export_as_they_compute(kind: str, tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model", kind)
    images = [{"images_NCHW": np.random.default_rng(n).normal(size=(n, 3, 32, 32)).astype("f4")} for n in (1, 3, 17)]
    check_body(load_backbone(f"timm:{folder}", split=(0,)), images)
