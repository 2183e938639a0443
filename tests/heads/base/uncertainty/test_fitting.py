"""Heads that know how sure they are: fitted, exported in closed form, and the same answers as before."""

from typing import Any

import numpy as np
import pytest
import torch

from heads.base import Classify, Head, Multilabel, Regress, Tag
from heads.base.declaration import Task
from heads.base.errors import InvalidHead
from heads.base.recipe import Recipe
from heads.base.tasks.modules import HeadStage, make_head
from heads.base.tasks.targets import answer_of
from heads.base.training import Encoded, encode, outputs_of
from heads.base.uncertainty.fitting import naming_uncertainty, with_certainty
from heads.base.uncertainty.head import CertainHead
from heads.base.uncertainty.metrics import certainty_metrics
from zoo.export import ParityBench, export_stage
from zoo.labels import Example, Span, Target
from zoo.manifest import ClassifyAnswer, Metrics, SliceMetrics, TensorSpec
from zoo.preprocessing import Row

WIDTH = 8
AVAILABLE = {
    "mask_NT": TensorSpec(name="mask_NT", dtype="int64", shape=("N", "T")),
    "tokens_NTD": TensorSpec(name="tokens_NTD", dtype="float32", shape=("N", "T", WIDTH)),
}
TASKS: dict[str, tuple[Task, list[Target]]] = {
    "classify": (Classify(labels=("a", "b", "c")), ["a", "b", "c"]),
    "multilabel": (Multilabel(labels=("a", "b")), [("a",), ("b",), ()]),
    "regress": (Regress(low=2, high=10), [9.0, 5.0, 3.0]),
    "tag": (Tag(labels=("a",)), [(Span(0, 1, "a"),), (), (Span(2, 3, "a"),)]),
}
EMPTY = Metrics(overall=SliceMetrics(examples=0, values={}), slices={})


def raw(targets: list[Target], seed: int) -> tuple[list[Example], list[Row], list[dict[str, Any]]]:
    """Rows of 3 to 6 tokens that say the target, but for every seventh."""
    noise = np.random.default_rng(seed)
    examples, rows, features = [], [], []
    kinds = list(dict.fromkeys(map(str, targets)))
    for number, target in enumerate(targets):
        length = int(noise.integers(3, 7))
        tokens_TD = noise.normal(0, 0.7, (length, WIDTH)).astype(np.float32)
        tokens_TD[:, kinds.index(str(target)) if number % 7 else 0] += 2
        offsets = tuple((2 * place, 2 * place + 1) for place in range(length))
        rows.append(Row(tensors={}, length=length, digest=str(number), text="x " * length, offsets=offsets))
        features.append({"tokens_NTD": tokens_TD, "mask_NT": np.ones(length, np.int64)})
        examples.append(Example(id=str(number), text="x", image="", split="train", slices=(), kind="", target=target))
    return examples, rows, features


def made(kind: str, **recipe: Any) -> HeadStage:
    """A head with random weights, which is as good as any to be unsure of."""
    torch.manual_seed(0)
    return make_head(Head(name="h", team="h", task=TASKS[kind][0]), Recipe(**recipe), AVAILABLE).eval()


def data(head: HeadStage, kind: str, rows: int, seed: int) -> Encoded:
    targets = TASKS[kind][1]
    return encode(head, *raw((targets * rows)[:rows], seed))


def declared(kind: str, **certainty: Any) -> Head:
    return Head(name="h", team="h", task=TASKS[kind][0], **certainty)


def fit(kind: str, plain: HeadStage, **certainty: Any) -> CertainHead:
    network = with_certainty(
        declared(kind, **certainty), plain, lambda: data(plain, kind, 60, 1), data(plain, kind, 30, 2), seed=0
    )
    assert isinstance(network, CertainHead)
    return network


CASES = [
    ("classify", {"calibrate": True}, {}),
    ("tag", {"calibrate": True}, {}),
    ("multilabel", {"uncertainty": "laplace"}, {}),
    ("regress", {"uncertainty": "laplace"}, {}),
    ("classify", {"uncertainty": "gp"}, {}),
    ("regress", {"uncertainty": "gp"}, {"hidden": 8, "pool": "mean_max"}),
]


@pytest.mark.parametrize(("kind", "certainty", "recipe"), CASES, ids=str)
def test_the_exported_closed_form_is_the_torch_head(
    kind: str, certainty: dict[str, Any], recipe: dict[str, Any]
) -> None:
    head = fit(kind, made(kind, **recipe), **certainty)
    tokens, mask = torch.randn(5, 6, WIDTH) * 3, torch.ones(5, 6, dtype=torch.int64)
    exported = export_stage(head, example={"tokens_NTD": tokens, "mask_NT": mask})
    with torch.no_grad():
        expected = head(tokens, mask)
    names = [spec.name for spec in exported.manifest.outputs]
    assert names[1:] == (["uncertainty_N1"] if "uncertainty" in certainty else [])
    for form in ("onnx", "torchscript"):
        found = ParityBench().run(form, [exported], {"tokens_NTD": tokens.numpy(), "mask_NT": mask.numpy()})
        for name, right in zip(names, expected, strict=True):
            np.testing.assert_allclose(found[name], right.numpy(), rtol=1e-5, atol=1e-5)


def test_heads_with_a_laplace_layer_can_run_together() -> None:
    head = fit("classify", made("classify", hidden=8), uncertainty="laplace")
    example = {"tokens_NTD": torch.randn(5, 6, WIDTH), "mask_NT": torch.ones(5, 6, dtype=torch.int64)}
    assert "onnx-group" in export_stage(head, example=example, grouped=True).manifest.artifacts


@pytest.mark.parametrize("kind", ["classify", "multilabel", "tag"])
def test_a_temperature_changes_no_answer(kind: str) -> None:
    plain = made(kind)
    head, unseen = fit(kind, plain, calibrate=True), data(plain, kind, 50, 3)
    assert abs(float(head.temperature) - 1) > 0.01
    for one, other in zip(outputs_of(plain, unseen), outputs_of(head, unseen), strict=True):
        before, after = next(iter(one.values())), next(iter(other.values()))
        if kind == "multilabel":
            assert ((before >= 0.5) == (after >= 0.5)).all()
        else:
            assert (before.argmax(-1) == after.argmax(-1)).all()
            np.testing.assert_allclose(after.sum(-1), 1, rtol=1e-5)


def test_a_laplace_layer_changes_no_answer_either() -> None:
    for kind in ("classify", "multilabel", "regress"):
        plain = made(kind)
        head, unseen = fit(kind, plain, uncertainty="laplace"), data(plain, kind, 50, 3)
        before = np.stack([next(iter(each.values())) for each in outputs_of(plain, unseen)])
        after = np.stack([next(iter(each.values())) for each in outputs_of(head, unseen)])
        if kind == "classify":
            assert (before.argmax(1) == after.argmax(1)).all()
        elif kind == "multilabel":
            assert ((before >= 0.5) == (after >= 0.5)).all()
        else:
            np.testing.assert_allclose(before, after, rtol=1e-5)


@pytest.mark.parametrize("uncertainty", ["laplace", "gp"])
@pytest.mark.parametrize("kind", ["classify", "multilabel", "regress"])
def test_an_uncertainty_is_a_chance_or_a_positive_deviation(kind: str, uncertainty: str) -> None:
    head = fit(kind, made(kind), uncertainty=uncertainty)
    with torch.no_grad():
        final, unsure = head(torch.randn(40, 4, WIDTH) * 5, torch.ones(40, 4, dtype=torch.int64))
    assert unsure.shape == (40, 1)
    if kind == "regress":
        assert (unsure > 0).all()
        assert ((final >= 2) & (final <= 10)).all()
    else:
        assert ((unsure >= 0) & (unsure <= 1)).all()
    if kind == "classify":
        torch.testing.assert_close(final.sum(1), torch.ones(40))
        wrong = 1 - final.amax(1)
        assert (unsure[:, 0] >= wrong - 1e-6).all()
        assert torch.allclose(unsure[:, 0], wrong) == (uncertainty == "laplace")


def test_the_valid_split_is_likelier_with_a_temperature_and_nothing_is_fitted_by_measuring() -> None:
    plain = made("classify")
    head, valid = fit("classify", plain, calibrate=True), data(plain, "classify", 30, 2)
    before = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    values = certainty_metrics(EMPTY, head, valid).overall.values
    assert set(values) == {"ece", "ece_plain", "nll", "nll_plain"}
    assert values["nll"] < values["nll_plain"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in head.state_dict().items())


def test_a_deviation_covers_about_two_values_in_three_of_the_valid_split() -> None:
    plain = made("regress")
    for uncertainty in ("laplace", "gp"):
        head = fit("regress", plain, uncertainty=uncertainty)
        values = certainty_metrics(EMPTY, head, data(plain, "regress", 30, 2)).overall.values
        assert set(values) == {"nll", "nll_plain", "within_1sd"}
        assert 0.5 < values["within_1sd"] < 0.9


@pytest.mark.parametrize("certainty", [{"calibrate": True}, {"uncertainty": "laplace"}, {"uncertainty": "gp"}], ids=str)
def test_what_is_far_from_the_training_data_is_told_from_it(certainty: dict[str, Any]) -> None:
    plain = made("classify")
    head, unseen = fit("classify", plain, **certainty), data(plain, "classify", 30, 3)
    outside = raw(["a"] * 30, 4)[2]
    values = certainty_metrics(EMPTY, head, unseen, outside).overall.values
    assert 0 <= values["ood_auroc"] <= 1
    assert 0 <= values["ood_auroc_plain"] <= 1


@pytest.mark.parametrize("recipe", [{}, {"hidden": 8}], ids=str)
def test_a_process_knows_what_is_unlike_all_that_it_was_trained_on(recipe: dict[str, Any]) -> None:
    plain = made("classify", **recipe)
    head, unseen = fit("classify", plain, uncertainty="gp"), data(plain, "classify", 60, 3)
    outside = raw(["a"] * 30, 4)[2]
    for feature in outside:  # in none of the ways that the rows of training differ
        feature["tokens_NTD"] = np.tile([[-9, 9, -9, 9, 9, 9, -9, -9]], (4, 1)).astype(np.float32)
        feature["mask_NT"] = np.ones(4, np.int64)
    assert certainty_metrics(EMPTY, head, unseen, outside).overall.values["ood_auroc"] > 0.95


def test_a_head_that_declares_nothing_stays_what_it_is() -> None:
    plain = made("classify")

    def never() -> Encoded:
        raise AssertionError("the train split is not needed")

    valid = data(plain, "classify", 30, 2)
    assert with_certainty(declared("classify"), plain, never, valid, seed=0) is plain
    assert certainty_metrics(EMPTY, plain, valid) == EMPTY
    answer = answer_of(plain.task)
    assert naming_uncertainty(answer, plain) == answer
    assert naming_uncertainty(answer, fit("classify", plain, calibrate=True)) == answer
    named = naming_uncertainty(answer, fit("classify", plain, uncertainty="laplace"))
    assert isinstance(named, ClassifyAnswer)
    assert named.uncertainty == "uncertainty_N1"


def test_a_valid_split_that_is_empty_or_of_one_class_is_refused() -> None:
    plain = made("classify")
    head = declared("classify", calibrate=True)
    none, one = encode(plain, [], [], []), encode(plain, *raw(["a"] * 5, 0))
    with pytest.raises(InvalidHead, match=r"'h' has no valid examples, and its certainty is fitted on them"):
        with_certainty(head, plain, lambda: one, none, seed=0)
    with pytest.raises(InvalidHead, match=r"All 5 examples of the valid split have the same class"):
        with_certainty(head, plain, lambda: one, one, seed=0)


@pytest.mark.parametrize(
    ("kind", "certainty", "message"),
    [
        ("regress", {"calibrate": True}, r"'calibrate' is for classify, multilabel, tag; 'h' is a regress head"),
        ("tag", {"uncertainty": "gp"}, r"'uncertainty' is for classify, multilabel, regress; 'h' is a tag head"),
        ("classify", {"uncertainty": "bayes"}, r"'uncertainty' is one of none, laplace, gp; got 'bayes'"),
        ("classify", {"calibrate": True, "ood": "h"}, r"'ood' is the name of another team"),
        ("classify", {"ood": "topics"}, r"says 'ood' and no 'calibrate' or 'uncertainty'"),
    ],
)
def test_a_declaration_that_does_not_add_up_is_refused(kind: str, certainty: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidHead, match=message):
        declared(kind, **certainty)


def test_a_declaration_without_certainty_describes_itself_as_ever() -> None:
    assert not {"calibrate", "uncertainty", "ood"} & declared("classify").describe().keys()
    described = declared("classify", calibrate=True, uncertainty="gp", ood="topics").describe()
    assert (described["calibrate"], described["uncertainty"], described["ood"]) == (True, "gp", "topics")
