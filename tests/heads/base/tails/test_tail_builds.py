"""Heads with a tail, built for real: which stages are shared, that these never change, and what a server loads."""

from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load

from heads.base import Classify, Tag, Tail
from heads.base.building.bench import Bench
from heads.base.building.build import build_head
from heads.base.building.ingredients import gather
from heads.base.building.phases import Phases
from heads.base.errors import InvalidHead, InvalidRecipe
from heads.base.network import Network
from heads.base.tails.noise import TokenNoise
from heads.base.tails.tail import TailedHead, private_path
from heads.base.training import Checkpoints, Observer, StepRecord, Trained, encode, train_head
from serving.loader import load_plan
from serving.plan import Node
from tests.support.head_packages import TeamFolder, mood_lines
from tests.support.recording_runtime import Recording
from tests.support.tiny_models import write_image_model
from zoo import Zoo
from zoo.digest import digest_bytes
from zoo.export.weights import to_safetensors
from zoo.manifest import VersionManifest

RECIPE = "epochs = 4\nlearning_rate = 0.01\n"
LAST_TWO = Tail(blocks=2)
LORA = Tail(blocks=2, how="lora", rank=4)
ALL = Tail(blocks="all")


def team_with(folder: Path, tail: Tail | None, name: str = "mood", recipe: str = RECIPE) -> TeamFolder:
    team = TeamFolder(folder / name, name=name, team=name, tail=tail, bounds={})
    team.write_recipe(recipe)
    return team


def built(zoo: Zoo, team: TeamFolder, **options: Any) -> VersionManifest:
    return zoo.manifest(build_head(zoo, team.package, by="tests", **options).version)


def digests_in_memory(zoo: Zoo, team: TeamFolder) -> list[str]:
    """Return the weights' digests of the backbone's stages as this process has them loaded, and trained on, now."""
    ingredients = gather(zoo, team.package)
    prefix = Bench(zoo, ingredients, Phases()).prefix
    stages = (*prefix.stages(), *prefix.following(len(ingredients.attached)))
    return [digest_bytes(to_safetensors(stage)) for stage in stages]


def trained(zoo: Zoo, team: TeamFolder, **options: Any) -> tuple[Network, Trained]:
    """Train as a build does, and export nothing."""
    ingredients = gather(zoo, team.package)
    bench = Bench(zoo, ingredients, Phases())
    splits = []
    for examples in (ingredients.labels.for_training().train, ingredients.labels.for_training().valid):
        rows = bench.rows(examples)
        splits.append((examples, rows, bench.features(rows)))
    network, _, how = train_head(
        bench.network,
        lambda network: (encode(network, *splits[0]), encode(network, *splits[1])),
        ingredients.recipe,
        **options,
    )
    return network, how


def weights(network: Network) -> list[bytes]:
    return [tensor.numpy().tobytes() for tensor in network.state_dict().values()]


def outline(node: Node) -> dict[str, Any]:
    return {child.stage.name: outline(child) for child in node.children}


def test_a_plan_shares_exactly_the_stages_that_tailed_and_frozen_heads_have_in_common(zoo: Zoo, tmp_path: Path) -> None:
    tails = {"frozen": None, "last": LAST_TWO, "lora": LORA, "whole": ALL}
    teams = {name: team_with(tmp_path, tail, name) for name, tail in tails.items()}
    manifests = {name: built(zoo, team, promote_to=("prod",)) for name, team in teams.items()}
    assert {name: manifest.shared_stages for name, manifest in manifests.items()} == {
        "frozen": 2,
        "last": 1,
        "lora": 1,
        "whole": 0,
    }
    runtime = Recording()
    plan = load_plan(zoo, runtime).plan
    assert {root.node.stage.name: outline(root.node) for root in plan.roots} == {
        "tiny/0": {
            "tiny/1": {"frozen/head": {}},
            "last/1": {"last/head": {}},
            "lora/1": {"lora/head": {}},
        },
        "whole/0": {"whole/1": {"whole/head": {}}},
    }
    assert sorted(runtime.loaded) == sorted(node.stage.name for node in plan.nodes())
    assert zoo.verify() == []
    body = zoo.backbone("tiny").manifest.stages
    for name, manifest in manifests.items():
        assert manifest.stages[: manifest.shared_stages] == body[: manifest.shared_stages], name
        assert all(parity.max_abs_diff <= parity.tolerance for parity in manifest.parity.values()), name
        assert digests_in_memory(zoo, teams[name]) == [zoo.stage(stage.digest).weights for stage in body], name
    assert build_head(zoo, teams["last"].package, by="tests").status == "unchanged"
    original, copied = zoo.stage(body[1].digest), zoo.stage(manifests["lora"].stages[1].digest)
    assert copied.weights != original.weights
    assert (copied.architecture, copied.parameters) == (original.architecture, original.parameters)
    assert (copied.inputs, copied.outputs) == (original.inputs, original.outputs)


@pytest.mark.parametrize(("blocks", "shared"), [(1, 1), (3, 0)])
def test_a_stage_that_is_trained_in_part_is_private_and_the_rest_of_it_stays(
    zoo: Zoo, tmp_path: Path, blocks: int, shared: int
) -> None:
    network, _ = trained(zoo, team_with(tmp_path, Tail(blocks=blocks)))
    copied, *_ = private_path(network)
    assert copied.name == f"mood/{shared}"
    original = zoo.stage(zoo.backbone("tiny").manifest.stages[shared].digest)
    was, now = load(zoo.blobs.get(original.weights)), load(to_safetensors(copied))
    changed = {name for name in was if not was[name].equal(now[name])}
    assert changed
    assert all(name.startswith("blocks.1.") for name in changed), "the first block of the stage is frozen"


def test_another_tail_is_another_build(zoo: Zoo, tmp_path: Path) -> None:
    team = team_with(tmp_path, None)
    keys = set()
    for tail in (None, LAST_TWO, LORA, ALL):
        team.tail = tail
        keys.add(gather(zoo, team.package).key)
    assert len(keys) == 4


@pytest.mark.parametrize("tail", [LAST_TWO, LORA, ALL], ids=["last", "lora", "all"])
def test_the_same_seed_trains_the_same_bits(zoo: Zoo, tmp_path: Path, tail: Tail) -> None:
    team = team_with(tmp_path, tail, recipe="epochs = 2\nlearning_rate = 0.01\n")
    assert weights(trained(zoo, team)[0]) == weights(trained(zoo, team)[0])


class StopAt(Observer):
    """Stops the run after a step, as a person does who presses Ctrl-C."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, record: StepRecord) -> None:
        if record.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("stop", [2, 9])
@pytest.mark.parametrize("tail", [ALL, Tail(blocks="all", how="lora", rank=4)], ids=["all", "lora"])
def test_a_tail_that_was_interrupted_ends_with_the_bits_of_one_that_was_not(
    zoo: Zoo, tmp_path: Path, tail: Tail, stop: int
) -> None:
    recipe = (
        "epochs = 4\nprobe_epochs = 2\nunfreeze_every = 1\nlayer_decay = 0.8\ntoken_dropout = 0.2\nbatch_size = 16\n"
    )
    team = team_with(tmp_path, tail, recipe=recipe)
    checkpoints = Checkpoints(folder=tmp_path / "checkpoint", every_steps=1)
    with pytest.raises(KeyboardInterrupt):
        trained(zoo, team, observers=[StopAt(stop)], checkpoints=checkpoints)
    assert list(checkpoints.folder.iterdir())
    assert weights(trained(zoo, team, checkpoints=checkpoints)[0]) == weights(trained(zoo, team)[0])


def test_a_tail_learns_what_frozen_features_hardly_hold(zoo: Zoo, tmp_path: Path) -> None:
    lines = mood_lines()
    for number, line in enumerate(lines):
        pair = ["w1", "w2"] if line["label"] == "good" else ["w2", "w1"]  # the order alone says the label
        line["text"] = " ".join([*pair, f"w{10 + number}", f"w{10 + (number * 7) % 80}"])
    scores = {}
    for name, tail in (("frozen", None), ("tailed", Tail(blocks=3))):
        team = team_with(tmp_path, tail, name, "epochs = 30\npatience = 30\nlearning_rate = 0.003\n")
        team.write_labels(lines)
        scores[name] = trained(zoo, team)[1].valid["accuracy"]
    assert scores["tailed"] == 1.0
    assert scores["frozen"] < 1.0


def test_a_tagging_head_takes_a_tail_too(zoo: Zoo, tmp_path: Path) -> None:
    team = team_with(tmp_path, LORA)
    team.task = Tag(labels=("good", "bad"))
    lines = mood_lines()
    for line in lines:
        line["spans"] = [{"start": 0, "end": 2, "label": line.pop("label")}]
    team.write_labels(lines)
    manifest = built(zoo, team)
    assert (manifest.answer.kind, manifest.shared_stages) == ("tag", 1)


def test_token_dropout_reaches_the_training_of_a_whole_tail(zoo: Zoo, tmp_path: Path) -> None:
    plain, noisy = (
        trained(zoo, team_with(tmp_path, ALL, name, f"epochs = 1\ntoken_dropout = {share}\n"))[0]
        for name, share in (("plain", 0.0), ("noisy", 0.3))
    )
    assert isinstance(noisy, TailedHead)
    assert isinstance(noisy.noise, TokenNoise)
    assert noisy.noise.hidden == 1, "[UNK]: the tokenizer has no mask"
    assert noisy.noise.kept.tolist() == [0, 2, 3], "padding and what every text has"
    assert weights(plain) != weights(noisy)


def test_what_does_not_fit_is_refused_before_any_work(zoo: Zoo, tmp_path: Path) -> None:
    team = team_with(tmp_path, Tail(blocks=9))
    with pytest.raises(InvalidHead, match=r"The tail of 'mood' counts 9 blocks; 'tiny' has 4 up to the stage"):
        built(zoo, team)
    team.attach, team.tail = 0, Tail(blocks=3)
    with pytest.raises(InvalidHead, match="'tiny' has 2 up to the stage"):
        built(zoo, team)
    team.attach, team.tail = "last", LAST_TWO
    team.write_recipe("token_dropout = 0.1\n")
    with pytest.raises(InvalidRecipe, match="the first 1 stages of 'tiny' are shared"):
        built(zoo, team)
    assert not (zoo_file := tmp_path / "zoo" / "features.sqlite").exists(), f"{zoo_file}: no feature was computed"


def test_a_tail_of_an_image_backbone_is_augmented_trained_and_proved(tmp_path: Path) -> None:
    from heads.base.backbones import add_backbone
    from tests.support.image_zoo import encoded

    team = team_with(tmp_path, ALL, "colour", 'epochs = 2\naugment = ["RandomHorizontalFlip", "ColorJitter"]\n')
    team.task = Classify(labels=("red", "blue"))
    model = write_image_model(tmp_path / "vit", "vit")
    with Zoo.open(tmp_path / "zoo", create=True) as zoo:
        add_backbone(zoo, f"timm:{model}", split=(0,), name="tiny", key=None)
        splits = ("train", "train", "valid", "test")
        colours = [("red", (200, number, 0)) if number % 2 else ("blue", (0, number, 200)) for number in range(32)]
        team.write_labels(
            [
                {
                    "id": f"c{number:02}",
                    "image": zoo.blobs.put(encoded(colour, "PNG")),
                    "split": splits[number // 2 % 4],
                    "slices": [],
                    "label": label,
                }
                for number, (label, colour) in enumerate(colours)
            ]
        )
        manifest = built(zoo, team)
        assert manifest.shared_stages == 0
        assert [stage.name for stage in manifest.stages] == ["colour/0", "colour/head"]
        team.tail = None
        with pytest.raises(InvalidRecipe, match="has augment"):
            built(zoo, team)
