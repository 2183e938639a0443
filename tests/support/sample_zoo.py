"""The sample heads on MiniLM: built by the commands that a team types, and rebuilt in torch to compare with."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner
from numpy.typing import NDArray

from zoo.commands import main

__all__ = ["SAMPLE_HEADS", "TorchHead", "add_minilm", "texts_of_head", "train_sample_heads", "zoo_command"]

SAMPLE_HEADS = ("intent", "pii", "topics", "urgency")


def zoo_command(folder: Path, *words: str) -> None:
    """Run a command of ``zoo`` in this process, which has loaded torch already, on the zoo in a folder."""
    done = CliRunner().invoke(main, [*words, "--zoo", str(folder)])
    assert done.exit_code == 0, f"zoo {' '.join(words)} failed:\n{done.output}"


def add_minilm(folder: Path, *options: str) -> None:
    """Add MiniLM to a zoo."""
    zoo_command(folder, "backbone", "add", "minilm", *options)


def train_sample_heads(folder: Path) -> None:
    """Train and promote the four heads: most of a minute on two cores."""
    zoo_command(folder, "head", "train", *SAMPLE_HEADS, "--promote", "prod")


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
