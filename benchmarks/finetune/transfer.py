"""From rendered glyphs to handwriting: digits at a few shots a class, on the backbone ``glyphs`` and without it.

``python -m benchmarks.finetune.transfer`` prints a table of test accuracies with 95 % intervals over seeds. A seed
draws the examples, the first weights and the order; the test pictures are always the same, of other writers as far as
scikit-learn's order tells. Nothing is chosen by the test pictures: every method has one recipe, however many shots.

- *frozen*: the pre-trained backbone's features and a linear head, as ``heads/digits`` has it;
- *frozen, untrained*: the same with random weights in the backbone, to show what the architecture alone gives;
- *tuned*: all weights trained further, from the pre-trained ones;
- *scratch*: all weights trained, from random ones; the same steps and the same augmentation as *tuned*.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import click
import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812 - its usual name

from backbone.load import load_backbone
from backbone.preprocessing import ImageTransform
from backbone.pretrain.network import make_trunk
from backbone.vision import ImageStage
from heads.digits.images import picture
from zoo.console import json_option, print_json, print_table, progress

__all__ = ["main"]

FIRST_TEST_ROW = 1100
CLASSES = 10
LINEAR_STEPS, LINEAR_RATE = 300, 1e-2
TUNED_RATE, SCRATCH_RATE = 3e-4, 1e-3
BATCH, LARGEST_SHIFT_PX, WARM_UP = 32, 3, 0.1

# Student's t for a two-sided 95 % interval of 2, 3, … seeds.
T95 = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)

Make = Callable[[], nn.Module]


@dataclass(frozen=True, slots=True, kw_only=True)
class Digits:
    """Pictures (N, 3, H, W) as the backbone takes them, and their digits (N,)."""

    images: Tensor
    labels: Tensor


@click.command()
@click.option("--shots", "shots", multiple=True, type=click.IntRange(1, 70), default=(5, 10, 50), show_default=True)
@click.option("--seeds", default=5, show_default=True, type=click.IntRange(2, len(T95) + 1))
@click.option("--steps", default=300, show_default=True, type=click.IntRange(1), help="Of 'tuned' and 'scratch'.")
@click.option("--threads", default=2, show_default=True, type=click.IntRange(1))
@json_option
def main(*, shots: tuple[int, ...], seeds: int, steps: int, threads: int, as_json: bool) -> None:
    """Compare accuracies on handwritten digits.

    Example: python -m benchmarks.finetune.transfer --shots 5 --seeds 2 --steps 20
    """
    torch.set_num_threads(threads)
    train, test = _digits()
    methods = _methods(train, test, steps)
    found: dict[str, dict[int, list[float]]] = {name: {} for name in methods}
    with progress("transfer", hidden=as_json) as tell:
        runs = [(name, count, seed) for name in methods for count in shots for seed in range(seeds)]
        for done, (name, count, seed) in enumerate(runs):
            tell(done, len(runs))
            chosen = _drawn(train.labels, count, seed)
            found[name].setdefault(count, []).append(methods[name](chosen, seed))
    if as_json:
        print_json(found)
        return
    columns = ("method", *(f"{count} shots" for count in shots))
    print_table(columns, [(name, *(_said(by_shots[count]) for count in shots)) for name, by_shots in found.items()])


def _methods(train: Digits, test: Digits, steps: int) -> dict[str, Callable[[Tensor, int], float]]:
    """Return what each method reaches on the test pictures, given the training pictures chosen and a seed."""

    def frozen(make: Make) -> Callable[[Tensor, int], float]:
        features: dict[int, tuple[Tensor, Tensor]] = {}

        def run(chosen: Tensor, seed: int) -> float:
            torch.manual_seed(seed)
            kept = 0 if make is _pretrained else seed  # random weights are others for each seed
            if kept not in features:
                trunk = make()
                features[kept] = _features(trunk, train.images), _features(trunk, test.images)
            seen, asked = features[kept]
            head = _linear(seen[chosen], train.labels[chosen])
            return _accuracy(head(asked), test.labels)

        return run

    def whole(make: Make, rate: float) -> Callable[[Tensor, int], float]:
        def run(chosen: Tensor, seed: int) -> float:
            torch.manual_seed(seed)
            model = nn.Sequential(make(), _Pool(), nn.Linear(256, CLASSES))
            _train(model, train.images[chosen], train.labels[chosen], steps, rate, Generator().manual_seed(seed))
            with torch.inference_mode():
                return _accuracy(torch.cat([model(part) for part in torch.split(test.images, 100)]), test.labels)

        return run

    return {
        "frozen": frozen(_pretrained),
        "frozen, untrained": frozen(_untrained),
        "tuned": whole(_pretrained, TUNED_RATE),
        "scratch": whole(_untrained, SCRATCH_RATE),
    }


class _Pool(nn.Module):
    def forward(self, features_NCHW: Tensor) -> Tensor:
        pooled_ND = features_NCHW.mean(dim=(2, 3))
        return F.layer_norm(pooled_ND, pooled_ND.shape[1:])


class _Trunk(nn.Module):
    """A model's features without what it does with them."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, images_NCHW: Tensor) -> Tensor:
        features_NCHW: Tensor = self.model.forward_features(images_NCHW)
        return features_NCHW


def _pretrained() -> nn.Module:
    stages = [cast("ImageStage", stage) for stage in load_backbone("glyphs").stages]
    return nn.Sequential(*(stage.parts for stage in stages)).requires_grad_(True)


def _untrained() -> nn.Module:
    return _Trunk(make_trunk())


def _digits() -> tuple[Digits, Digits]:
    from sklearn.datasets import load_digits

    found: Any = load_digits()
    transform = load_backbone("glyphs").preprocessing
    assert isinstance(transform, ImageTransform)
    grey_NHW = torch.from_numpy(np.stack([picture(ink_HW) for ink_HW in found.images])).float() / 255
    assert grey_NHW.shape[1:] == (transform.height, transform.width)
    images_NCHW = ((grey_NHW - transform.mean[0]) / transform.std[0])[:, None].repeat(1, 3, 1, 1)
    labels_N = torch.tensor(found.target)
    first = FIRST_TEST_ROW
    return (
        Digits(images=images_NCHW[:first], labels=labels_N[:first]),
        Digits(images=images_NCHW[first:], labels=labels_N[first:]),
    )


def _drawn(labels_N: Tensor, shots: int, seed: int) -> Tensor:
    """Return the rows of so many examples of each class."""
    order_N = torch.randperm(len(labels_N), generator=Generator().manual_seed(seed))
    return torch.cat([order_N[labels_N[order_N] == digit][:shots] for digit in range(CLASSES)])


def _features(trunk: nn.Module, images_NCHW: Tensor) -> Tensor:
    model = nn.Sequential(trunk, _Pool()).eval()
    with torch.no_grad():
        return torch.cat([model(part) for part in torch.split(images_NCHW, 100)])


def _linear(features_ND: Tensor, labels_N: Tensor) -> nn.Linear:
    head = nn.Linear(features_ND.shape[1], CLASSES)
    optimizer = torch.optim.AdamW(head.parameters(), lr=LINEAR_RATE, weight_decay=0.01)
    for _ in range(LINEAR_STEPS):
        optimizer.zero_grad()
        F.cross_entropy(head(features_ND), labels_N).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return head.requires_grad_(False)


def _train(
    model: nn.Module, images_NCHW: Tensor, labels_N: Tensor, steps: int, rate: float, generator: Generator
) -> None:
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / (WARM_UP * steps)) * (1 + math.cos(math.pi * step / steps)) / 2
        rows = torch.randint(len(labels_N), (BATCH,), generator=generator)
        optimizer.zero_grad()
        loss = F.cross_entropy(model(_shifted(images_NCHW[rows], generator)), labels_N[rows])
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    model.eval()


def _shifted(images_NCHW: Tensor, generator: Generator) -> Tensor:
    """Move a batch by a few pixels, the same for all of it; what comes in is background."""
    down, right = torch.randint(-LARGEST_SHIFT_PX, LARGEST_SHIFT_PX + 1, (2,), generator=generator).tolist()
    wide = F.pad(images_NCHW, (LARGEST_SHIFT_PX,) * 4, value=1.0)
    top, left = LARGEST_SHIFT_PX - down, LARGEST_SHIFT_PX - right
    return wide[:, :, top : top + images_NCHW.shape[2], left : left + images_NCHW.shape[3]]


def _accuracy(scores_NC: Tensor, labels_N: Tensor) -> float:
    return float((scores_NC.argmax(dim=1) == labels_N).float().mean())


def _said(accuracies: list[float]) -> str:
    count = len(accuracies)
    half = T95[count - 2] * float(np.std(accuracies, ddof=1)) / math.sqrt(count)
    return f"{np.mean(accuracies):.3f} ± {half:.3f}"


if __name__ == "__main__":
    main()
