import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.fake_manifests import add_body, version_manifest
from zoo import Backbone, Move, Zoo
from zoo.errors import Conflict, InvalidConfig, NotFound
from zoo.registry import Meaning


@pytest.fixture
def three(zoo: Zoo, body: Backbone) -> Zoo:
    """A zoo with three versions of one head."""
    for seed in range(3):
        zoo.publish(version_manifest(zoo, body, seed=str(seed)))
    return zoo


def promote(zoo: Zoo, *moves: Move) -> list[int]:
    return [entry.epoch for entry in zoo.promote(moves, by="ann", reason="why")]


def test_a_promotion_is_logged_with_who_and_why(three: Zoo) -> None:
    (entry,) = three.promote([Move("intent", "prod", 2)], by="ann", reason="better on negation")
    assert (entry.id, entry.epoch, entry.number, entry.by, entry.reason) == (1, 1, 2, "ann", "better on negation")
    assert three.promotions("intent", "prod") == [entry]
    assert entry.digest == three.resolve("intent@2").version.digest


def test_a_move_that_expects_the_epoch_it_finds_succeeds(three: Zoo) -> None:
    assert promote(three, Move("intent", "prod", 1, expected_epoch=0)) == [1]
    assert promote(three, Move("intent", "prod", 2, expected_epoch=1)) == [2]


def test_a_move_that_lost_is_told_who_moved_the_alias_and_where_to(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1))
    three.promote([Move("intent", "prod", 3)], by="ben", reason="hotfix")
    with pytest.raises(Conflict, match=r"epoch 2.*expected epoch 1: ben moved it to intent@3 .*\(hotfix\)"):
        promote(three, Move("intent", "prod", 2, expected_epoch=1))
    with pytest.raises(Conflict, match=r"canary has never moved \(epoch 0\)"):
        promote(three, Move("intent", "canary", 2, expected_epoch=4))


@pytest.mark.parametrize(
    ("bad", "error"),
    [(Move("intent", "prod", 1, 7), Conflict), (Move("intent", "prod", 9), NotFound), (Move("x", "prod", 1), NotFound)],
)
def test_several_moves_happen_together_or_not_at_all(three: Zoo, bad: Move, error: type[Exception]) -> None:
    with pytest.raises(error):
        promote(three, Move("intent", "canary", 1), bad)
    assert three.promotions("intent") == []


def test_one_transaction_may_move_an_alias_twice(three: Zoo) -> None:
    assert promote(three, Move("intent", "prod", 1), Move("intent", "prod", 2, expected_epoch=1)) == [1, 2]


@pytest.mark.parametrize(
    ("move", "message"),
    [
        (Move("intent", "prod", 9), "Head 'intent' has no version 9; it has versions 1 to 3"),
        (Move("intnt", "prod", 1), "Did you mean 'intent'"),
    ],
)
def test_promoting_what_does_not_exist_says_what_does(three: Zoo, move: Move, message: str) -> None:
    with pytest.raises(NotFound, match=message):
        promote(three, move)


def test_rolling_back_is_a_promotion_to_the_version_before(three: Zoo) -> None:
    for number in (1, 2, 2):
        promote(three, Move("intent", "prod", number))
    entry = three.rollback("intent", "prod", by="ben", reason="slow")
    assert (entry.number, entry.epoch, entry.by, entry.reason) == (1, 4, "ben", "slow")
    assert three.resolve("intent").version.number == 1
    assert len(three.promotions("intent")) == 4


def meanings(zoo: Zoo) -> list[Meaning]:
    return [entry.meaning for entry in zoo.promotions("intent", "prod")]


def test_a_canary_keeps_what_the_alias_means_and_replaces_the_canary_before_it(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1), Move("intent", "prod", 2, role="canary", percent=10))
    promote(three, Move("intent", "prod", 3, role="canary", percent=20))
    assert meanings(three) == [Meaning(1, 3, 20), Meaning(1, 2, 10), Meaning(1)]
    (live,) = three.live()
    assert (live.version.number, live.canary_percent, live.epoch) == (1, 20, 3)
    assert live.canary == three.resolve("intent@3").version
    assert three.resolve("intent").version.number == 1, "what an alias means is its version, and not its canary"


def test_shadows_add_up_and_a_shadow_that_becomes_the_canary_is_none_any_more(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1), Move("intent", "prod", 3, role="shadow"))
    promote(three, Move("intent", "prod", 2, role="shadow"), Move("intent", "prod", 2, role="shadow"))
    assert meanings(three)[0] == Meaning(1, 0, 0, (2, 3))
    promote(three, Move("intent", "prod", 3, role="canary", percent=1))
    assert meanings(three)[0] == Meaning(1, 3, 1, (2,))
    assert [version.number for version in three.live()[0].shadows] == [2]


def test_a_plain_promotion_ends_canary_and_shadows_and_a_rollback_restores_them_whole(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1), Move("intent", "prod", 2, role="canary", percent=10))
    promote(three, Move("intent", "prod", 3, role="shadow"), Move("intent", "prod", 2))
    assert meanings(three)[0] == Meaning(2)
    entry = three.rollback("intent", "prod", by="ben", reason="slow")
    assert entry.meaning == Meaning(1, 2, 10, (3,))
    assert meanings(three)[0] == entry.meaning


def test_what_answers_already_can_be_neither_canary_nor_shadow(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1), Move("intent", "prod", 2, role="canary", percent=10))
    for move in (
        Move("intent", "prod", 1, role="canary", percent=5),
        Move("intent", "prod", 1, role="shadow"),
        Move("intent", "prod", 2, role="shadow"),
    ):
        with pytest.raises(Conflict, match="already"):
            promote(three, move)


@pytest.mark.parametrize("percent", [-1, 0, 100])
def test_a_canary_gets_a_percentage_of_the_callers(three: Zoo, percent: int) -> None:
    promote(three, Move("intent", "prod", 1))
    with pytest.raises(InvalidConfig, match="expected 1 to 99"):
        promote(three, Move("intent", "prod", 2, role="canary", percent=percent))


def test_a_split_of_an_alias_that_means_nothing_says_what_to_do_first(three: Zoo) -> None:
    with pytest.raises(NotFound, match=r"`zoo promote intent@<number> prod` makes it mean a version"):
        promote(three, Move("intent", "prod", 2, role="canary", percent=10))


def test_a_canary_also_obeys_the_epoch_that_it_expects(three: Zoo) -> None:
    promote(three, Move("intent", "prod", 1))
    with pytest.raises(Conflict, match="expected epoch 3"):
        promote(three, Move("intent", "prod", 2, 3, role="canary", percent=10))


@pytest.mark.parametrize(
    ("head", "alias", "message"),
    [
        ("intnt", "prod", "Did you mean 'intent'"),
        ("intent", "prd", "Did you mean 'prod'"),
        ("intent", "prod", "has only ever meant intent@1"),
    ],
)
def test_rolling_back_what_has_no_past_says_so(three: Zoo, head: str, alias: str, message: str) -> None:
    promote(three, Move("intent", "prod", 1))
    with pytest.raises(NotFound, match=message):
        three.rollback(head, alias, by="me", reason="")


def test_a_watcher_that_asks_for_what_is_after_its_last_id_misses_nothing(three: Zoo, body: Backbone) -> None:
    three.publish(version_manifest(three, body, head="urgency"), promote_to=["prod"])
    seen, last = [], 0
    for number in (1, 2, 3):
        promote(three, Move("intent", "prod", number), Move("urgency", "canary", 1))
        for entry in three.promotions_after(last):
            seen.append((entry.head, entry.alias, entry.epoch))
            last = entry.id
    pairs = [(("intent", "prod", n), ("urgency", "canary", n)) for n in (1, 2, 3)]
    assert seen == [("urgency", "prod", 1), *(entry for pair in pairs for entry in pair)]


@dataclass(frozen=True)
class Step:
    alias: str
    number: int
    expected_epoch: int | None


steps = st.builds(
    Step,
    alias=st.sampled_from(["prod", "canary"]),
    number=st.integers(1, 3),
    expected_epoch=st.none() | st.integers(0, 4),
)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a zoo of three versions, to be copied."""
    folder = tmp_path_factory.mktemp("template")
    with Zoo.open(folder, create=True) as zoo:
        body = add_body(zoo)
        for seed in range(3):
            zoo.publish(version_manifest(zoo, body, seed=str(seed)))
    return folder


@settings(deadline=None, max_examples=25)
@given(st.lists(st.lists(steps, min_size=1, max_size=3), max_size=8), st.randoms(use_true_random=False))
def test_any_interleaving_keeps_epochs_contiguous_and_the_alias_at_the_last_entry(
    template: Path, transactions: list[list[Step]], order: random.Random
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(template, folder, dirs_exist_ok=True)
        with Zoo.open(folder) as zoo, Zoo.open(folder) as other:
            model: dict[str, list[int]] = {"prod": [], "canary": []}
            for transaction in transactions:
                _apply(order.choice([zoo, other]), model, transaction)
            _check(other, model)


def _apply(zoo: Zoo, model: dict[str, list[int]], transaction: list[Step]) -> None:
    """Promote in the zoo and in a model of it: a list of numbers an alias, whose length is the epoch."""
    planned, wins = {alias: list(numbers) for alias, numbers in model.items()}, True
    for step in transaction:
        wins = wins and step.expected_epoch in (None, len(planned[step.alias]))
        planned[step.alias].append(step.number)
    moves = [Move("intent", step.alias, step.number, step.expected_epoch) for step in transaction]
    if wins:
        zoo.promote(moves, by="me", reason="")
        model.update(planned)
    else:
        with pytest.raises(Conflict):
            zoo.promote(moves, by="me", reason="")


def _check(zoo: Zoo, model: dict[str, list[int]]) -> None:
    for alias, numbers in model.items():
        log = zoo.promotions("intent", alias)
        assert [(entry.epoch, entry.number) for entry in reversed(log)] == list(enumerate(numbers, start=1))
    standing = {live.alias: (live.version.number, live.epoch) for live in zoo.live()}
    assert standing == {alias: (numbers[-1], len(numbers)) for alias, numbers in model.items() if numbers}
    ids = [entry.id for entry in zoo.promotions_after(0)]
    assert ids == list(range(1, 1 + sum(map(len, model.values()))))
