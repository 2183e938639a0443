"""A run of pre-training: repeatable by its seed, ended by its budget, and written as timm reads it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from backbone import load_backbone, run_path
from backbone.pretrain.__main__ import main
from backbone.pretrain.budget import ClockBudget, StepBudget
from backbone.pretrain.collection import Collection, collect
from backbone.pretrain.network import IMAGE_PX, Pretrained
from backbone.pretrain.saving import save_trunk
from backbone.pretrain.training import Settings, Step, pretrain


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def collection() -> Collection:
    return collect(characters=lambda _face: ("A", "b"))


def trained(collection: Collection, seed: int = 0) -> tuple[Pretrained, list[Step]]:
    steps: list[Step] = []
    network, made = pretrain(collection, Settings(seed=seed, batch_size=8), StepBudget(steps=3), on_step=steps.append)
    assert made == len(steps) == 3
    return network, steps


def weights(network: Pretrained) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in network.state_dict().values()]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(collection: Collection) -> None:
    (first, steps), (second, again) = trained(collection), trained(collection)
    assert steps == again
    assert weights(first) == weights(second)
    assert weights(trained(collection, seed=1)[0]) != weights(first)


def test_a_run_by_the_clock_ends_when_its_time_is_over(collection: Collection) -> None:
    ticks = iter(range(100))
    budget = ClockBudget(seconds=4, clock=lambda: float(next(ticks)), started=0.0)
    _, made = pretrain(collection, Settings(batch_size=4), budget)
    assert made == 4


def test_what_is_written_loads_as_a_backbone_with_the_features_of_the_trunk(
    collection: Collection, tmp_path: Path
) -> None:
    network, _ = trained(collection)
    save_trunk(network, tmp_path / "weights", {"steps": 3})
    assert json.loads((tmp_path / "weights" / "report.json").read_text()) == {"steps": 3}
    config = json.loads((tmp_path / "weights" / "config.json").read_text())
    assert config["pretrained_cfg"]["description"] == "pre-trained on rendered glyphs only"
    assert not (tmp_path / "weights.part").exists()
    loaded = load_backbone(f"timm:{tmp_path / 'weights'}")
    images = {"images_NCHW": torch.linspace(-1, 1, 2 * 3 * IMAGE_PX * IMAGE_PX).reshape(2, 3, IMAGE_PX, IMAGE_PX)}
    features = run_path(loaded.stages, images)["features_NCHW"]
    with torch.no_grad():
        assert torch.equal(features, network.trunk.forward_features(images["images_NCHW"]))  # type: ignore[operator]


@pytest.mark.parametrize("arguments", [(), ("--steps", "3", "--minutes", "1")])
def test_a_run_needs_either_steps_or_minutes(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(main, arguments)
    assert done.exit_code == 2
    assert "Give either --steps or --minutes" in done.output
