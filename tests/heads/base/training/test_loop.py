"""Training: the same seed gives the same bits, the best epoch is kept, and a broken loss says where it broke."""

from typing import Any

import numpy as np
import pytest
import torch

from heads.base import Multilabel, Regress, Tag
from heads.base.declaration import Task
from heads.base.errors import TrainingFailed
from heads.base.network import Network
from heads.base.recipe import Recipe
from heads.base.tasks.losses import IGNORED, make_loss
from heads.base.tasks.modules import HeadStage
from heads.base.tasks.targets import best_thresholds, tag_tokens
from heads.base.training import Encoded, EpochRecord, Observer, StepRecord, encode, learning_rate_at, train_head
from tests.support.training_data import MOOD, SmallTail, bits_of, examples_of, mood_head, mood_split
from zoo.labels import Span, Target


def train(task: Task, pair: tuple[Target, Target], recipe: Recipe, scale: float = 1.0) -> Any:
    def split(stage: HeadStage) -> tuple[Encoded, Encoded]:
        return (
            encode(stage, *examples_of(pair * 24, seed=1, scale=scale)),
            encode(stage, *examples_of(pair * 8, seed=2)),
        )

    return train_head(lambda: mood_head(recipe, task), split, recipe)


class Scores(Observer):
    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def on_epoch(self, record: EpochRecord) -> None:
        self.scores.append(record.watched)


@pytest.mark.parametrize(
    ("task", "pair"),
    [
        (MOOD, ("good", "bad")),
        (Multilabel(labels=("a", "b")), (("a",), ("b",))),
        (Regress(low=0, high=10), (9.0, 1.0)),
        (Tag(labels=("a",)), ((Span(0, 1, "a"),), (Span(0, 1, "a"),))),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_every_kind_of_head_learns_what_is_easy_and_the_same_seed_gives_the_same_bits_of(task: Task, pair: Any) -> None:
    recipe = Recipe(epochs=20, batch_size=16, learning_rate=0.02, hidden=8, dropout=0.2)
    head, _, trained = train(task, pair, recipe)
    again, _, _ = train(task, pair, recipe)
    other, _, _ = train(task, pair, recipe.model_copy(update={"seed": 1}))
    assert bits_of(head) == bits_of(again)
    assert bits_of(head) != bits_of(other)
    assert not head.training
    first = task.metrics[0]
    assert trained.valid[first] < 1.5 if first == "mae" else trained.valid[first] > 0.9


def test_training_leaves_the_callers_random_state_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(MOOD, ("good", "bad"), Recipe(epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_training_stops_without_progress_and_keeps_the_best_epoch() -> None:
    recipe = Recipe(epochs=200, patience=3, learning_rate=0.05)
    scores: list[float] = []
    noise = np.random.default_rng(0)
    labels: list[Target] = [str(noise.choice(MOOD.labels)) for _ in range(24)]
    shuffled = examples_of(labels, seed=3)
    for features in shuffled[2]:
        features["tokens_NTD"][0, 0] = 0  # nothing to learn from

    _, _, trained = train_head(
        lambda: mood_head(recipe),
        lambda stage: (encode(stage, *shuffled), encode(stage, *examples_of(("good", "bad") * 8, seed=2, scale=0))),
        recipe,
        observers=(Scores(scores),),
    )
    assert trained.epochs == len(scores) < 200
    assert trained.epochs - trained.best_epoch == 3
    assert trained.valid["macro_f1"] == max(scores) == scores[trained.best_epoch - 1]


def test_a_loss_that_is_no_number_names_the_step() -> None:
    with pytest.raises(TrainingFailed, match=r"loss is nan at step 1; .* features of e\d+, .* and \d+ more are not"):
        train(MOOD, ("good", "bad"), Recipe(epochs=2), scale=float("inf"))


def test_a_head_that_gives_no_numbers_is_a_failed_training() -> None:
    # A recipe refuses such a rate; features far out of range do the same.
    with pytest.raises(TrainingFailed, match=r"(loss is .* at step|no numbers after epoch) .* Lower learning_rate"):
        train(MOOD, ("good", "bad"), Recipe.model_construct(epochs=3, batch_size=64, learning_rate=1e30))


def test_padding_tokens_count_for_nothing_in_the_loss() -> None:
    task = Tag(labels=("a",))
    targets = torch.tensor([[0, 1, IGNORED]])
    logits = torch.randn(1, 3, 3)
    loss = make_loss(task, Recipe(), [torch.tensor([0, 1])])
    changed = logits.clone()
    changed[0, 2] = 99
    assert torch.equal(loss(logits, targets), loss(changed, targets))


def test_class_weights_make_a_rare_class_cost_more() -> None:
    targets = [torch.tensor(0)] * 9 + [torch.tensor(1)]
    logits, rare = torch.zeros(2, 2), torch.tensor([0, 1])
    logits[1, 0] = 3.0
    plain = make_loss(MOOD, Recipe(), targets)(logits, rare)
    weighted = make_loss(MOOD, Recipe(class_weights=True), targets)(logits, rare)
    assert weighted > plain


def test_the_learning_rate_rises_and_falls_once() -> None:
    rates = [learning_rate_at(step, 100, 1.0) for step in range(100)]
    top = rates.index(max(rates))
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert max(rates) == 1.0
    assert 0 < rates[-1] < 0.01


def test_a_token_that_touches_two_spans_belongs_to_the_later_and_cut_words_are_inside() -> None:
    spans = [Span(0, 5, "a"), Span(6, 10, "b")]
    offsets = [(0, 0), (0, 3), (3, 5), (5, 6), (6, 9), (9, 12), (0, 0)]
    assert tag_tokens(("a", "b"), spans, offsets) == [0, 1, 2, 0, 3, 4, 0]


def test_thresholds_go_where_f1_is_best() -> None:
    scores = np.array([[0.9, 0.2], [0.8, 0.1], [0.3, 0.05]], np.float32)
    wanted = np.array([[True, True], [False, True], [False, False]])
    first, second = best_thresholds(scores, wanted)
    assert 0.8 < first < 0.9
    assert 0.05 < second < 0.1


class Told(Observer):
    """Keeps what it is told, and the weights of each part after each epoch."""

    def __init__(self) -> None:
        self.network: Network
        self.steps: list[StepRecord] = []
        self.epochs: list[EpochRecord] = []
        self.weights: list[dict[str, bytes]] = []
        self.announced, self.ended = 0, 0

    def begins(self, network: Network, epochs: int) -> None:
        self.network, self.announced = network, epochs
        self.weights.append(bits_of(network))

    def on_step(self, record: StepRecord) -> None:
        self.steps.append(record)

    def on_epoch(self, record: EpochRecord) -> None:
        self.epochs.append(record)
        self.weights.append(bits_of(self.network))

    def ends(self) -> None:
        self.ended += 1

    def changed(self, epoch: int) -> set[str]:
        before, after = self.weights[epoch - 1], self.weights[epoch]
        return {name.split(".")[0] for name in before if before[name] != after[name]}


def test_observers_are_told_every_step_and_epoch() -> None:
    told, recipe = Told(), Recipe(epochs=3, batch_size=20)
    train_head(lambda: mood_head(recipe), mood_split, recipe, observers=(told,))
    assert [(each.step, each.epoch) for each in told.steps] == [(n, 1 + (n - 1) // 3) for n in range(1, 10)]
    assert sum(each.rows for each in told.steps) == 3 * 48
    assert [each.learning_rates["head"] for each in told.steps] == [learning_rate_at(n, 9, 1e-3) for n in range(9)]
    assert all(each.grad_norms["head"] > 0 and each.seconds >= 0 for each in told.steps)
    assert [(each.epoch, each.epochs) for each in told.epochs] == [(1, 3), (2, 3), (3, 3)]
    first = told.epochs[0]
    mean = sum(each.loss * each.rows for each in told.steps[:3]) / 48
    assert first.train_loss == pytest.approx(mean)
    assert first.is_best
    assert first.watched == first.metrics["macro_f1"]
    assert first.rows_per_s > 0
    assert (told.announced, told.ended) == (3, 1)


def test_observers_hear_of_the_end_also_where_training_fails() -> None:
    told = Told()
    with pytest.raises(TrainingFailed):
        train_head(
            lambda: mood_head(Recipe()),
            lambda stage: (
                encode(stage, *examples_of(("good", "bad") * 8, seed=1, scale=float("inf"))),
                encode(stage, *examples_of(("good", "bad"), seed=2)),
            ),
            Recipe(),
            observers=(told,),
        )
    assert told.ended == 1


def test_probing_trains_the_head_alone_and_then_layers_are_let_go_one_by_one() -> None:
    recipe = Recipe(probe_epochs=2, unfreeze_every=2, epochs=6, layer_decay=0.5, batch_size=16, learning_rate=0.01)
    told = Told()
    tail, _, trained = train_head(lambda: SmallTail(recipe), mood_split, recipe, observers=(told,))
    assert told.announced == 8
    assert [told.changed(epoch) for epoch in range(1, 9)] == [
        *[{"head"}] * 4,
        *[{"head", "last"}] * 2,
        *[{"head", "last", "first"}] * 2,
    ]
    rates = told.steps[-1].learning_rates
    assert rates == {"head": rates["head"], "block 2": rates["head"] / 2, "block 1": rates["head"] / 4}
    assert trained.valid["macro_f1"] > 0.9
    assert all(parameter.requires_grad for layer in tail.layers() for parameter in layer.parameters)
    assert not any(parameter.requires_grad for parameter in tail.frozen.parameters())


def test_a_tail_learns_the_same_bits_from_the_same_seed() -> None:
    recipe = Recipe(epochs=4, batch_size=16, mixup=0.3, label_smoothing=0.1, schedule="cosine")
    one, other = (train_head(lambda: SmallTail(recipe), mood_split, recipe)[0] for _ in range(2))
    assert bits_of(one) == bits_of(other)


def test_a_last_batch_of_one_row_is_no_trouble_for_batch_norms() -> None:
    recipe = Recipe(epochs=2, batch_size=7)
    train_head(lambda: SmallTail(recipe), lambda network: mood_split(network, train_rows=50), recipe)


def test_a_loss_that_is_no_number_from_good_features_names_the_batch() -> None:
    def spoiled() -> SmallTail:
        tail = SmallTail(Recipe())
        tail.last.linear.weight.data.fill_(float("nan"))
        return tail

    with pytest.raises(TrainingFailed, match=r"nan at step 1, in the batch of e\d+, .* more; .* Lower learning_rate"):
        train_head(spoiled, mood_split, Recipe())


@pytest.mark.parametrize(("epochs", "where"), [(60, r"of the 50 steps up to step"), (2, r"of its \d+ steps")])
def test_a_loss_that_diverges_is_stopped_with_what_to_do(epochs: int, where: str) -> None:
    recipe = Recipe(
        epochs=epochs, patience=60, learning_rate=100.0, weight_decay=0.0, batch_size=4, schedule="constant"
    )
    with pytest.raises(TrainingFailed, match=rf"loss began at .* {where}.* it diverges. Lower learning_rate .*lr-find"):
        train_head(lambda: SmallTail(recipe), lambda network: mood_split(network, clear=0.0), recipe)
