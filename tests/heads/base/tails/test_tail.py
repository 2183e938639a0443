"""Tails: what is copied, what of it is trained and in which order, and that the rest stays frozen."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from backbone import LoadedBackbone, Stage, TensorDeclaration, load_backbone, run_path
from heads.base import Classify, Head, Tail
from heads.base.errors import InvalidHead
from heads.base.recipe import Recipe
from heads.base.tails.tail import TailedHead, private_path
from heads.base.tasks.modules import make_head
from tests.support.tiny_models import write_image_model, write_text_model
from zoo.manifest import TensorSpec

MOOD = Classify(labels=("good", "bad"))


@pytest.fixture(scope="module")
def bodies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedBackbone]:
    """Of four blocks each, cut after the first and the third."""
    folder = tmp_path_factory.mktemp("bodies")
    convnext = write_image_model(folder / "convnext", "convnext linear mlp")
    return {
        "bert": load_backbone(f"hf:{write_text_model(folder / 'bert')}", split=(1, 3), name="bert"),
        "mpnet": load_backbone(f"hf:{write_text_model(folder / 'mpnet', 'mpnet')}", split=(1, 3), name="mpnet"),
        "vit": load_backbone(f"timm:{write_image_model(folder / 'vit', 'vit')}", split=(1, 3), name="vit"),
        "convnext": load_backbone(f"timm:{convnext}", split=(1, 3), name="convnext"),
    }


def tailed(body: LoadedBackbone, tail: Tail, first: int) -> TailedHead:
    torch.manual_seed(0)
    given = {each.name: each for stage in body.stages for each in (*stage.inputs, *stage.outputs)}
    specs = {name: TensorSpec(name=name, dtype=each.dtype, shape=each.shape) for name, each in given.items()}
    head = make_head(Head(name="mood", team="mood", task=MOOD), Recipe(dropout=0.0), specs)
    return TailedHead(body.stages[first:], head, tail)


def inputs(body: LoadedBackbone, network: TailedHead, first: int) -> list[Tensor]:
    with torch.no_grad():
        known = run_path(body.stages[:first], body.example)
    return [known[each.name] for each in network.inputs]


def one_step(network: TailedHead, tensors: Sequence[Tensor]) -> None:
    network.train()
    weights = [weight for layer in network.layers() for weight in layer.parameters]
    optimizer = torch.optim.SGD(weights, lr=0.5)
    network.logits(*network.reduce(*tensors))[:, 0].sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    network.eval()


def changed(before: dict[str, Tensor], module: nn.Module) -> set[str]:
    return {name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])}


def snapshot(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


@pytest.mark.parametrize("name", ["bert", "mpnet", "vit", "convnext"])
@pytest.mark.parametrize("first", [0, 1, 2])
def test_an_untrained_tail_answers_as_the_frozen_path_does(
    bodies: dict[str, LoadedBackbone], name: str, first: int
) -> None:
    body = bodies[name]
    network = tailed(body, Tail(blocks=1), first).eval()
    with torch.no_grad():
        known = run_path([*body.stages, network.head], body.example)
        found = network.finish(network.logits(*network.reduce(*inputs(body, network, first))))
    assert torch.equal(found, known["scores_NC"])


def test_layers_go_down_from_the_head_and_the_embeddings_come_last(bodies: dict[str, LoadedBackbone]) -> None:
    def outline(tail: Tail, first: int, name: str = "bert") -> list[tuple[str, int]]:
        return [(layer.name, layer.depth) for layer in tailed(bodies[name], tail, first).layers()]

    assert outline(Tail(blocks=2), 1) == [("head", 0), ("block 3", 1), ("block 2", 2)]
    blocks = [("head", 0), ("block 3", 1), ("block 2", 2), ("block 1", 3), ("block 0", 4)]
    assert outline(Tail(blocks="all"), 0) == [*blocks, ("embeddings", 5)]
    assert outline(Tail(blocks=4), 0) == blocks
    assert outline(Tail(blocks="all", how="lora"), 0) == blocks
    assert outline(Tail(blocks="all"), 0, "vit") == [*blocks, ("embeddings", 5)]


@pytest.mark.parametrize("name", ["bert", "mpnet", "vit", "convnext"])
@pytest.mark.parametrize("how", ["full", "lora"])
def test_layers_hold_every_trained_weight_once_and_nothing_else(
    bodies: dict[str, LoadedBackbone], name: str, how: str
) -> None:
    network = tailed(bodies[name], Tail(blocks="all", how=how, rank=2), 0)  # type: ignore[arg-type]
    listed = [weight for layer in network.layers() for weight in layer.parameters]
    assert len(listed) == len({id(weight) for weight in listed})
    assert {id(weight) for weight in listed} == {id(each) for each in network.parameters() if each.requires_grad}
    assert all(each.requires_grad for each in network.parameters()) is (how == "full")


@pytest.mark.parametrize("name", ["bert", "mpnet", "vit", "convnext"])
def test_training_changes_the_trained_blocks_alone_and_never_the_backbone(
    bodies: dict[str, LoadedBackbone], name: str
) -> None:
    body = bodies[name]
    network = tailed(body, Tail(blocks=1), 1)
    before, backbone = snapshot(network), [snapshot(stage) for stage in body.stages]
    one_step(network, inputs(body, network, 1))
    allowed = {id(weight) for layer in network.layers() for weight in layer.parameters}
    found = changed(before, network)
    assert found
    assert found <= {name for name, weight in network.named_parameters() if id(weight) in allowed}
    assert all(key.startswith(("stages.1.", "head.")) for key in found), "block 2 is in the first copy, and frozen"
    for stage, was in zip(body.stages, backbone, strict=True):
        assert changed(was, stage) == set()


@pytest.mark.parametrize("name", ["bert", "vit", "convnext"])
def test_low_rank_additions_are_merged_into_stages_of_the_backbones_shape(
    bodies: dict[str, LoadedBackbone], name: str
) -> None:
    body = bodies[name]
    network = tailed(body, Tail(blocks=2, how="lora", rank=2), 1)
    tensors = inputs(body, network, 1)
    one_step(network, tensors)
    with torch.no_grad():
        before = network.logits(*tensors)
        network.merge()
        torch.testing.assert_close(network.logits(*tensors), before, rtol=1e-4, atol=1e-4)
    *copies, head = private_path(network)
    for copied, original in zip(copies, body.stages[1:], strict=True):
        assert copied.architecture == original.architecture
        assert copied.state_dict().keys() == original.state_dict().keys()
    assert [stage.name for stage in (*copies, head)] == ["mood/1", "mood/2", "mood/head"]
    assert not any(weight.requires_grad for weight in network.parameters())


class NormedStage(Stage):
    """Two blocks with batch statistics and drop-out, as an older image model has them."""

    def __init__(self) -> None:
        super().__init__()
        self.name = "normed/0"
        self.architecture = {"blocks": [0, 2]}
        self.inputs = (TensorDeclaration(name="tokens_NTD", dtype="float32", shape=("N", 4, 6)),)
        self.outputs = self.inputs
        self.before = nn.BatchNorm1d(4)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(6, 6)) for _ in range(2)
        )

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        hidden = self.before(tensors[0])
        for block in self.blocks:
            hidden = block(hidden)
        return (hidden,)

    def block_parts(self) -> tuple[tuple[nn.Module, ...], ...]:
        return tuple((block,) for block in self.blocks)


def normed_tail(tail: Tail) -> TailedHead:
    spec = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", 4, 6))
    head = make_head(Head(name="mood", team="mood", task=MOOD), Recipe(), {"tokens_NTD": spec})
    return TailedHead([NormedStage().eval()], head, tail)


@pytest.mark.parametrize(
    ("tail", "moving"),
    [
        (Tail(blocks=1), {"1"}),
        (Tail(blocks="all"), {"before", "0", "1"}),
        (Tail(blocks=2, how="lora", rank=2), set()),
    ],
    ids=["last", "all", "lora"],
)
def test_batch_statistics_move_only_where_the_norm_is_trained(tail: Tail, moving: set[str]) -> None:
    network = normed_tail(tail)
    before = snapshot(network)
    one_step(network, [torch.randn(8, 4, 6) + 3])
    running = {name for name in changed(before, network) if "running_" in name}
    assert {name.split(".")[2].replace("blocks", name.split(".")[3]) for name in running} == moving


def test_what_is_frozen_stays_in_eval_mode_and_what_is_thawed_does_not() -> None:
    network = normed_tail(Tail(blocks=1))
    network.train()
    (stage,) = network.private_stages()
    modes = {name: part.training for name, part in stage.named_modules()}
    assert (modes["before"], modes["blocks.0.1"], modes["blocks.1.1"]) == (False, False, True)
    assert network.head.training
    for weight in network.layers()[1].parameters:  # as a probe of the head alone does it
        weight.requires_grad_(False)
    network.train()
    assert not any(part.training for part in stage.blocks.modules())  # type: ignore[union-attr]


def test_noise_is_for_training_alone() -> None:
    class Zeros(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return torch.zeros_like(values)

    network, values = normed_tail(Tail(blocks=1)).eval(), torch.randn(3, 4, 6)
    with torch.no_grad():
        quiet = network.logits(values)
        network.noise = Zeros()
        assert torch.equal(network.logits(values), quiet)
        network.train()
        torch.manual_seed(0)
        noisy = network.logits(values)
        torch.manual_seed(0)
        assert torch.equal(noisy, network.logits(torch.zeros_like(values)))


def test_blocks_without_linear_layers_take_no_low_rank_additions() -> None:
    stage = NormedStage()
    stage.blocks = nn.ModuleList(nn.Sequential(nn.BatchNorm1d(4)) for _ in range(2))
    spec = TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", 4, 6))
    head = make_head(Head(name="mood", team="mood", task=MOOD), Recipe(), {"tokens_NTD": spec})
    with pytest.raises(InvalidHead, match=r"nothing that how='lora' could train: Sequential holds no linear layers"):
        TailedHead([stage], head, Tail(blocks=1, how="lora", rank=2))


def test_a_tail_is_copied_and_named_for_its_head(bodies: dict[str, LoadedBackbone], tmp_path: Path) -> None:
    body = bodies["bert"]
    network = tailed(body, Tail(blocks=1), 2)
    assert [stage.name for stage in body.stages] == ["bert/0", "bert/1", "bert/2"]
    assert [stage.name for stage in network.private_stages()] == ["mood/2"]
    shared = {id(weight) for stage in body.stages for weight in stage.parameters()}
    assert shared.isdisjoint(id(weight) for weight in network.parameters())
