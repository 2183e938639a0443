"""The sample heads on MiniLM: built by the commands that a team types, and rebuilt in torch to compare with."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

__all__ = ["SAMPLE_HEADS", "TorchHead", "build_sample_zoo", "texts_of_head"]

SAMPLE_HEADS = ("intent", "pii", "topics", "urgency")


def build_sample_zoo(folder: Path) -> None:
    """Add MiniLM, and train and promote the four heads: about a minute on two cores."""
    zoo = str(Path(sys.executable).with_name("zoo"))
    for words in (
        ("backbone", "add", "minilm"),
        ("head", "train", *SAMPLE_HEADS, "--promote", "prod"),
    ):
        done = subprocess.run([zoo, *words, "--zoo", str(folder)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"zoo {' '.join(words)} failed:\n{done.stdout}{done.stderr}"


def texts_of_head(head: str, split: str, count: int) -> list[str]:
    """Return the first texts of one split of a head's labels."""
    from heads.base.packages import load_package

    labels = load_package(head).labels()
    examples = labels.for_gate() if split == "test" else labels.for_training().train
    return [example.text for example in examples][:count]


class TorchHead:
    """A published head as torch modules: the backbone's own stages, and the head with its published weights.

    Args:
        folder: the zoo.
        name: the head.
    """

    def __init__(self, folder: Path, name: str) -> None:
        import safetensors.torch

        from backbone import load_backbone
        from heads.base.packages import load_package
        from heads.base.recipe import Recipe
        from heads.base.tasks.modules import make_head
        from zoo import Zoo
        from zoo.preprocessing import load_preprocessor

        with Zoo.open(folder) as zoo:
            self.manifest = zoo.manifest(zoo.resolve(f"{name}@prod").version)
            self._preprocess = load_preprocessor(self.manifest.preprocessing, zoo.blobs.get)
            stages = [zoo.stage(ref.digest) for ref in self.manifest.stages]
            weights = zoo.blobs.get(stages[-1].weights)
        available = {spec.name: spec for stage in stages[:-1] for spec in stage.outputs}
        available |= {spec.name: spec for spec in self._preprocess.declared if spec.name not in available}
        head = make_head(load_package(name).head, Recipe.model_validate(self.manifest.recipe), available)
        head.load_state_dict(safetensors.torch.load(weights))
        body = load_backbone("minilm").stages[: self.manifest.shared_stages]
        self._stages = [stage.eval() for stage in (*body, head)]

    def __call__(self, text: str) -> NDArray[Any]:
        """Return the head's output for one text, alone in its batch and without padding."""
        import torch

        from backbone import run_path
        from zoo.preprocessing import collate

        batch: Mapping[str, NDArray[Any]] = collate([self._preprocess(text)], self._preprocess)
        with torch.no_grad():
            found = run_path(self._stages, {name: torch.from_numpy(array) for name, array in batch.items()})
        result: NDArray[Any] = found[self.manifest.signature.outputs[0].name][0].numpy()
        return result

    @property
    def tolerances(self) -> Sequence[float]:
        """The recorded tolerances of the exports."""
        return [parity.tolerance for parity in self.manifest.parity.values()]
