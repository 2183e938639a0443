"""A made-up team's head package on a tiny backbone: enough to build in a second or two."""

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import heads
from heads.base import Classify, Gate, Head, Tail
from heads.base.declaration import Task
from heads.base.packages import Package
from tests.support.tiny_models import TEXT_CONFIGS, quiet_transformers, write_tokenizer

MOOD = Classify(labels=("good", "bad"))


@dataclass
class TeamFolder:
    """Writes ``labels.jsonl`` and ``recipe.toml``, and gives the package."""

    path: Path
    name: str = "mood"
    task: Task = MOOD
    attach: Any = "last"
    tail: Tail | None = None
    team: str = "mood"
    parity_tolerance: float = 1e-4
    variant_tolerance: float = 0.01
    bounds: dict[str, float] = field(default_factory=lambda: {"accuracy": 0.9, "short/accuracy": 0.5})

    def __post_init__(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        self.write_labels(mood_lines())
        self.write_recipe("epochs = 20\nlearning_rate = 0.03\n")

    def write_labels(self, lines: Sequence[dict[str, Any]]) -> None:
        text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
        (self.path / "labels.jsonl").write_text(text, encoding="utf-8")

    def write_recipe(self, text: str) -> None:
        (self.path / "recipe.toml").write_text(text, encoding="utf-8")

    @property
    def package(self) -> Package:
        head = Head(
            name=self.name,
            team=self.team,
            backbone="tiny",
            attach=self.attach,
            tail=self.tail,
            task=self.task,
            gate=Gate(bounds=self.bounds),
            parity_tolerance=self.parity_tolerance,
            variant_tolerance=self.variant_tolerance,
        )
        return Package(head=head, folder=self.path)


def mood_lines() -> list[dict[str, Any]]:
    """80 texts of 3 to 8 made-up words, of which the first two say the label."""
    lines = []
    for number in range(80):
        label = ("good", "bad")[number % 2]
        markers = ["w1", "w1"] if label == "good" else ["w2", "w2"]
        words = [f"w{10 + number}", *(f"w{10 + (number * place) % 80}" for place in range(2, 2 + number % 6))]
        split = ("train", "train", "train", "train", "valid", "valid", "test", "test")[number % 8]
        lines.append(
            {
                "id": f"mood-{number:04}",
                "text": " ".join([*markers, *words]),
                "split": split,
                "slices": ["short"] if len(words) < 4 else [],
                "label": label,
            }
        )
    return lines


def write_learnable_model(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny BERT whose features tell its words apart; one with every weight random would smooth them away."""
    import torch
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model("bert", **TEXT_CONFIGS["bert"], initializer_range=0.05)
    with quiet_transformers(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        AutoModel.from_config(config).save_pretrained(folder)  # type: ignore[no-untyped-call]
    write_tokenizer(folder)
    return folder


@contextmanager
def among_the_teams(team: TeamFolder, **modules: str) -> Iterator[TeamFolder]:
    """Make a folder one of the packages of ``heads`` while the body runs, for commands that look teams up by name.

    Args:
        team: the folder.
        modules: text of its modules, by name.
    """
    for name, text in {"__init__": "", **modules}.items():
        (team.path / f"{name}.py").write_text(text)
    before, known = heads.__path__, set(sys.modules)
    heads.__path__ = [*before, str(team.path.parent)]
    try:
        yield team
    finally:
        heads.__path__ = before
        for name in set(sys.modules) - known:
            if name.startswith("heads.") and not name.startswith("heads.base"):
                del sys.modules[name]
