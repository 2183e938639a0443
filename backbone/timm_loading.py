"""Loads timm models from a folder or by name; the only module that imports timm's loaders."""

import math
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from torch import nn

from backbone.errors import IncompleteModel, UnknownSource, UnsupportedModel
from backbone.preprocessing import ImageTransform

__all__ = ["load_image_model"]

INTERPOLATIONS = ("bilinear", "bicubic", "nearest")


def load_image_model(location: str) -> tuple[nn.Module, ImageTransform, str]:
    """Load a model for inference: float32, no gradients.

    Args:
        location: a folder with timm's config.json and model.safetensors, or a model's name (``vit_…``,
            ``hf-hub:<owner>/<model>``).

    Returns:
        The model, what its images need, and the name of its architecture.

    Raises:
        UnknownSource: nothing is there, or timm has no model of that name.
        IncompleteModel: its weights do not fit its configuration.
        UnsupportedModel: its images need something that preprocessing cannot do.
    """
    import timm
    from timm.data.config import resolve_model_data_config

    folder = Path(location)
    if folder.is_dir() and not (folder / "model.safetensors").is_file():
        raise IncompleteModel(
            f"'{location}' has no model.safetensors; expected one beside config.json, as "
            "timm.models.save_for_hf(..., safe_serialization=True) writes them."
        )
    try:
        model: Any = timm.create_model(f"local-dir:{location}" if folder.is_dir() else location, pretrained=True)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise _explained(location, error, timm.list_models()) from error
    model = model.float().eval().requires_grad_(False)
    architecture = str(model.pretrained_cfg.get("architecture", ""))
    return model, image_transform(resolve_model_data_config(model), location), architecture  # type: ignore[no-untyped-call]


def image_transform(config: Mapping[str, Any], location: str) -> ImageTransform:
    """Return timm's evaluation transform as plain data.

    Args:
        config: as ``timm.data.resolve_model_data_config`` gives it.
        location: named in errors.

    Raises:
        UnsupportedModel: images are not square RGB, or are resized in a way that is not a centre crop.
    """
    channels, height, width = config["input_size"]
    centred = config.get("crop_mode", "center") == "center"
    interpolation = config["interpolation"]
    if channels != 3 or height != width or not centred or interpolation not in INTERPOLATIONS:
        raise UnsupportedModel(
            f"The images of '{location}' need input_size {tuple(config['input_size'])}, crop_mode "
            f"{config.get('crop_mode')!r} and interpolation {interpolation!r}; supported are square RGB images, "
            f"crop_mode 'center' and interpolation {', '.join(INTERPOLATIONS)}."
        )
    return ImageTransform(
        height=height,
        width=width,
        resize_shorter=math.floor(height / config["crop_pct"]),
        interpolation=cast("Literal['bilinear', 'bicubic', 'nearest']", interpolation),
        mean=_three(config["mean"]),
        std=_three(config["std"]),
    )


def _three(values: Any) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue


def _explained(location: str, error: Exception, names: list[str]) -> UnknownSource | IncompleteModel:
    reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
    if "state_dict" in reason:
        return IncompleteModel(
            f"The weights of '{location}' do not fit its configuration: {error}\nSave the model again with timm."
        )
    closest = get_close_matches(location.partition(".")[0], names, n=1)
    hint = f" The closest name that timm has is '{closest[0]}'." if closest and closest[0] != location else ""
    return UnknownSource(
        f"No timm model could be loaded from '{location}': {reason}.{hint} Expected a folder with config.json and "
        "model.safetensors, or a model name whose weights this machine can reach."
    )
