"""Writing the trunk as timm writes models, and beside it how it was made."""

import json
from pathlib import Path
from typing import Any

from backbone.pretrain.network import ARCHITECTURE, IMAGE_PX, MODEL_ARGS, Pretrained

__all__ = ["describe_origin", "save_trunk"]


def save_trunk(network: Pretrained, folder: Path, report: dict[str, Any]) -> None:
    """Write config.json, model.safetensors and report.json; each is whole or not there.

    Args:
        network: what was pre-trained; only its trunk is kept.
        folder: where to; made if it is not there.
        report: how it was made, and what it reached.
    """
    from timm.models import save_for_hf

    folder.mkdir(parents=True, exist_ok=True)
    data_config = {
        "input_size": (3, IMAGE_PX, IMAGE_PX),
        "crop_pct": 1.0,
        "interpolation": "bicubic",
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    partial = folder.with_name(f"{folder.name}.part")
    save_for_hf(
        network.trunk,
        str(partial),
        model_config={"architecture": ARCHITECTURE},
        model_args={**MODEL_ARGS, "num_classes": 0},
        data_config=data_config,
        safe_serialization=True,
    )
    describe_origin(partial / "config.json")
    (partial / "report.json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    for file in sorted(partial.iterdir()):
        file.chmod(0o644)  # timm's are readable by their owner alone
        file.replace(folder / file.name)
    partial.rmdir()


def describe_origin(config: Path) -> None:
    """Have a config.json say where the weights come from; timm writes the origin of its own weights there."""
    found = json.loads(config.read_text(encoding="utf-8"))
    found["pretrained_cfg"] |= {"tag": "glyphs", "license": "", "description": "pre-trained on rendered glyphs only"}
    config.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
