from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from backbone import ImageTransform, load_backbone, run_path
from backbone.errors import IncompleteModel, UnknownSource, UnsupportedModel
from tests.support.tiny_models import IMAGE_MODELS, write_image_model


@pytest.mark.parametrize(
    ("kind", "split"), [*((kind, (1, 2)) for kind in IMAGE_MODELS), ("vit", ()), ("vit", (0,)), ("convnext", (2,))]
)
def test_chained_stages_give_the_bits_of_the_model_as_timm_runs_it(
    kind: str, split: tuple[int, ...], tmp_path: Path
) -> None:
    folder = write_image_model(tmp_path / "model", kind)
    backbone = load_backbone(f"timm:{folder}", split=split)
    model: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    assert len(backbone.stages) == (len(split) + 1 if split not in [(), (0,)] else {(): 3, (0,): 1}[split])
    for rows in (1, 3):
        images = torch.randn(rows, 3, 32, 32)
        with torch.no_grad():
            expected = model.forward_features(images)
            found = run_path(backbone.stages, {"images_NCHW": images})[backbone.stages[-1].outputs[0].name]
        assert torch.equal(found, expected)
        assert torch.equal(backbone.uncut({"images_NCHW": images}), expected)


def test_image_stages_declare_fixed_sizes_and_free_rows(tmp_path: Path) -> None:
    vit = load_backbone(f"timm:{write_image_model(tmp_path / 'vit')}", split=(2,))
    convnext = load_backbone(f"timm:{write_image_model(tmp_path / 'convnext', 'convnext')}", split=(3,))
    assert [(stage.inputs[0].name, stage.inputs[0].shape) for stage in vit.stages] == [
        ("images_NCHW", ("N", 3, 32, 32)),
        ("tokens_NTD", ("N", 5, 24)),
    ]
    assert [(stage.outputs[0].name, stage.outputs[0].shape) for stage in convnext.stages] == [
        ("features_NCHW", ("N", 12, 4, 4)),
        ("features_NCHW", ("N", 20, 1, 1)),
    ]


def test_stages_of_a_vision_transformer_hold_each_weight_once_and_no_classifier(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model")
    backbone = load_backbone(f"timm:{folder}")
    model = timm.create_model(f"local-dir:{folder}", pretrained=True)
    held = sum(weight.numel() for stage in backbone.stages for weight in stage.state_dict().values())
    assert held == sum(weight.numel() for name, weight in model.named_parameters() if not name.startswith("head"))


def test_images_are_prepared_as_timm_evaluates(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model", crop_pct=0.5, interpolation="bilinear", mean=(0.1, 0.2, 0.3))
    transform = load_backbone(f"timm:{folder}").preprocessing
    assert isinstance(transform, ImageTransform)
    assert (transform.height, transform.width, transform.resize_shorter) == (32, 32, 64)
    assert (transform.interpolation, transform.mean) == ("bilinear", (0.1, 0.2, 0.3))


def test_images_that_preprocessing_cannot_make_are_refused(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model", crop_mode="squash")
    with pytest.raises(UnsupportedModel, match="crop_mode 'squash'"):
        load_backbone(f"timm:{folder}")


def test_model_of_another_class_is_refused_by_name(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model", "test_efficientnet")
    with pytest.raises(UnsupportedModel, match=r"EfficientNet; supported: VisionTransformer, ConvNeXt"):
        load_backbone(f"timm:{folder}")


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model")
    other = write_image_model(tmp_path / "other", "convnext")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(IncompleteModel, match="do not fit"):
        load_backbone(f"timm:{folder}")


def test_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    folder = write_image_model(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(IncompleteModel, match=r"no model\.safetensors"):
        load_backbone(f"timm:{folder}")


def test_misspelt_model_name_is_answered_with_the_closest() -> None:
    with pytest.raises(UnknownSource, match="closest name that timm has is 'vit_small_patch16_224'"):
        load_backbone("timm:vit_smal_patch16_224")
