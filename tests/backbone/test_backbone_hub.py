import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.tiny_models import write_image_model, write_text_model

REVISION = "0123456789abcdef0123456789abcdef01234567"

LOAD = """
import json
from backbone import load_backbone
from backbone.errors import UnknownSource

def describe(source):
    try:
        loaded = load_backbone(source)
    except UnknownSource as error:
        return str(error)
    return [loaded.name, loaded.source, loaded.source_digest]

sources = ["hf:team/tiny-bert", "timm:hf-hub:team/tiny-vit", "hf:team/elsewhere", "timm:vit_small_patch16_224"]
print(json.dumps([describe(source) for source in sources]))
"""


def put_into_hub_cache(folder: Path, name: str, hub: Path) -> None:
    """Lay a model's files out as a download from the hub leaves them."""
    model = hub / f"models--{name.replace('/', '--')}"
    shutil.copytree(folder, model / "snapshots" / REVISION)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(REVISION)


def test_hub_names_load_through_the_hub_cache_and_say_so_when_they_cannot(tmp_path: Path) -> None:
    from backbone import load_backbone

    text = write_text_model(tmp_path / "text")
    image = write_image_model(tmp_path / "image")
    put_into_hub_cache(text, "team/tiny-bert", tmp_path / "hub")
    put_into_hub_cache(image, "team/tiny-vit", tmp_path / "hub")
    environment = {**os.environ, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    loaded = subprocess.run([sys.executable, "-c", LOAD], env=environment, capture_output=True, text=True, check=True)
    bert, vit, elsewhere, unreachable = json.loads(loaded.stdout)
    assert bert == ["tiny-bert", "hf:team/tiny-bert", load_backbone(f"hf:{text}").source_digest]
    assert vit == ["tiny-vit", "timm:hf-hub:team/tiny-vit", load_backbone(f"timm:{image}").source_digest]
    assert "No transformers model could be loaded from 'team/elsewhere'" in elsewhere
    assert "No timm model could be loaded from 'vit_small_patch16_224'" in unreachable
    assert "a model name whose weights this machine can reach" in unreachable
