from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import event

from serving.errors import StageFailed, UnknownModel
from serving.loader import load_plan
from tests.support.recording_runtime import Recording
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo
from zoo.errors import Corrupt


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    return make_tiny_zoo(tmp_path / "zoo", ["intent", "pii"])


@pytest.fixture
def zoo(tiny: TinyZoo) -> Iterator[Zoo]:
    with Zoo.open(tiny.folder) as opened:
        yield opened


def test_each_distinct_stage_is_loaded_once_and_none_runs(zoo: Zoo) -> None:
    runtime = Recording()
    loaded = load_plan(zoo, runtime)
    assert sorted(runtime.loaded) == ["intent", "pii", "pii/tail", "tiny/0", "tiny/1"]
    assert runtime.ran == []
    assert len(loaded.executables) == 5
    assert len(loaded.preprocessors) == 1


def test_what_is_served_comes_with_its_aliases_and_their_epochs(zoo: Zoo) -> None:
    zoo.promote([Move("intent", "canary", 1), Move("intent", "prod", 1)], by="me", reason="again")
    loaded = load_plan(zoo, Recording())
    version, alias, epoch = loaded.plan.resolve("intent")
    assert (version.number, alias, epoch) == (1, "prod", zoo.resolve("intent").epoch)
    assert version.aliases.keys() == {"prod", "canary"}
    assert [str(each) for each in loaded.plan.versions] == ["intent@1", "pii@1"]


def test_two_versions_of_a_head_share_its_body(tiny: TinyZoo, zoo: Zoo) -> None:
    tiny.publish(zoo, "intent", seed=1, promote_to=["canary"])
    runtime = Recording()
    plan = load_plan(zoo, runtime, heads=["intent"]).plan
    assert runtime.loaded.count("tiny/0") == 1
    assert (plan.resolve("intent", "prod")[0].number, plan.resolve("intent", "canary")[0].number) == (1, 2)


def test_only_the_heads_and_aliases_that_are_named_are_loaded(tiny: TinyZoo, zoo: Zoo) -> None:
    tiny.publish(zoo, "intent", seed=1, promote_to=["canary"])
    by_head = load_plan(zoo, Recording(), heads=["pii"]).plan
    by_alias = load_plan(zoo, Recording(), aliases=["canary"]).plan
    assert [str(version) for version in by_head.versions] == ["pii@1"]
    assert [str(version) for version in by_alias.versions] == ["intent@2"]


def test_progress_tells_each_stage_and_how_many_there_are(zoo: Zoo) -> None:
    told: list[tuple[str, int, int]] = []
    load_plan(zoo, Recording(), heads=["intent"], progress=lambda what, done, total: told.append((what, done, total)))
    assert told == [("loaded tiny/0", 1, 3), ("loaded tiny/1", 2, 3), ("loaded intent", 3, 3)]


def test_a_zoo_in_which_nothing_is_live_says_how_to_make_something_live(tmp_path: Path) -> None:
    with Zoo.open(make_tiny_zoo(tmp_path / "empty", []).folder) as empty, pytest.raises(UnknownModel) as caught:
        load_plan(empty, Recording())
    assert "zoo promote" in str(caught.value)
    assert "zoo head train" in str(caught.value)


def test_a_head_that_is_not_live_is_refused_with_the_closest(zoo: Zoo) -> None:
    with pytest.raises(UnknownModel, match=r"No head 'intnet' is live in this zoo\. Did you mean 'intent'"):
        load_plan(zoo, Recording(), heads=["intnet"])


def test_a_head_that_is_not_under_the_named_alias_says_what_to_promote(tiny: TinyZoo, zoo: Zoo) -> None:
    tiny.publish(zoo, "intent", seed=1, promote_to=["canary"])
    with pytest.raises(UnknownModel, match="`zoo promote pii@<number> canary`"):
        load_plan(zoo, Recording(), heads=["pii"], aliases=["canary"])


def test_a_stage_that_is_not_stored_in_the_runtimes_format_names_what_there_is(zoo: Zoo) -> None:
    with pytest.raises(StageFailed, match="'tiny/0' is not stored as torchscript, only as onnx"):
        load_plan(zoo, Recording(format="torchscript"))


def damage(tiny: TinyZoo, zoo: Zoo, reference: str) -> Path:
    """Spoil the bytes of a version's head, and return their file."""
    head = zoo.stage(zoo.manifest(zoo.resolve(reference).version).stages[-1].digest)
    blob = head.artifacts["onnx"].blob
    (file,) = [path for path in tiny.folder.rglob("*") if path.is_file() and path.name in (blob, blob[2:])]
    file.chmod(0o600)
    file.write_bytes(b"damaged")
    return file


def test_damaged_bytes_are_never_loaded(tiny: TinyZoo, zoo: Zoo) -> None:
    damage(tiny, zoo, "intent")
    runtime = Recording()
    with pytest.raises(Corrupt):
        load_plan(zoo, runtime)
    assert "intent" not in runtime.loaded


def test_a_plan_reflects_the_newest_promotion(zoo: Zoo) -> None:
    zoo.promote([Move("intent", "prod", 1)], by="me", reason="again")
    assert load_plan(zoo, Recording()).epoch == zoo.newest_promotion() == 3


def test_what_the_plan_before_has_is_neither_read_nor_loaded_again(tiny: TinyZoo, zoo: Zoo) -> None:
    runtime = Recording()
    before = load_plan(zoo, runtime)
    runtime.loaded.clear()
    tiny.publish(zoo, "intent", seed=1)
    statements: list[str] = []
    event.listen(zoo.registry.engine, "before_cursor_execute", lambda *arguments: statements.append(arguments[2]))
    after = load_plan(zoo, runtime, before=before)
    assert runtime.loaded == ["intent"]
    assert sum("FROM stage" in statement for statement in statements) == 1, "only the new head's stage is looked up"
    assert [str(version) for version in after.plan.versions] == ["intent@2", "pii@1"]
    kept = before.executables.keys() & after.executables.keys()
    assert all(before.executables[key] is after.executables[key] for key in kept)
    assert len(kept) == len(after.executables) - 1
    assert after.preprocessors == before.preprocessors


def test_a_version_that_does_not_load_leaves_its_alias_as_it_was_and_others_move_on(tiny: TinyZoo, zoo: Zoo) -> None:
    before = load_plan(zoo, Recording())
    tiny.publish(zoo, "intent", seed=1)
    tiny.publish(zoo, "pii", seed=1)
    damage(tiny, zoo, "intent@2")
    after = load_plan(zoo, Recording(), before=before)
    assert [str(version) for version in after.plan.versions] == ["intent@1", "pii@2"]
    assert after.plan.resolve("intent")[1:] == before.plan.resolve("intent")[1:], "alias and epoch of what answers"
    (failure,) = after.failures
    assert (failure.head, failure.alias, failure.number) == ("intent", "prod", 2)
    assert "damaged" in failure.cause
    assert after.epoch == zoo.newest_promotion()


def test_a_version_that_is_known_not_to_run_is_left_out_likewise(tiny: TinyZoo, zoo: Zoo) -> None:
    before = load_plan(zoo, Recording())
    new = tiny.publish(zoo, "intent", seed=1)
    after = load_plan(zoo, Recording(), before=before, broken={new.digest: StageFailed("no kernel")})
    assert str(after.plan.resolve("intent")[0]) == "intent@1"
    assert [failure.cause for failure in after.failures] == ["no kernel"]


def test_a_head_whose_first_version_does_not_load_costs_no_other(tiny: TinyZoo, zoo: Zoo) -> None:
    before = load_plan(zoo, Recording())
    tiny.publish(zoo, "urgency")
    damage(tiny, zoo, "urgency")
    after = load_plan(zoo, Recording(), before=before)
    assert [str(version) for version in after.plan.versions] == ["intent@1", "pii@1"]
    assert [failure.head for failure in after.failures] == ["urgency"]


def test_a_canary_that_does_not_load_leaves_the_alias_as_it_was(tiny: TinyZoo, zoo: Zoo) -> None:
    before = load_plan(zoo, Recording())
    tiny.publish(zoo, "intent", seed=1, promote_to=())
    zoo.promote([Move("intent", "prod", 2, role="canary", percent=50)], by="me", reason="")
    damage(tiny, zoo, "intent@2")
    (target, _) = load_plan(zoo, Recording(), before=before).plan.targets
    assert (target.live.number, target.canary, target.epoch) == (1, None, 1)


def test_a_shadow_that_does_not_load_is_left_out_alone(tiny: TinyZoo, zoo: Zoo) -> None:
    before = load_plan(zoo, Recording())
    for seed in (1, 2):
        tiny.publish(zoo, "intent", seed=seed, promote_to=())
    zoo.promote([Move("intent", "prod", number, role="shadow") for number in (2, 3)], by="me", reason="")
    damage(tiny, zoo, "intent@2")
    after = load_plan(zoo, Recording(), before=before)
    (target, _) = after.plan.targets
    assert (target.epoch, [shadow.number for shadow in target.shadows]) == (3, [3])
    assert [failure.number for failure in after.failures] == [2]


def test_canary_and_shadows_are_loaded_and_no_alias_leads_to_them(tiny: TinyZoo, zoo: Zoo) -> None:
    for seed in (1, 2):
        tiny.publish(zoo, "intent", seed=seed, promote_to=())
    moves = [Move("intent", "prod", 2, role="canary", percent=50), Move("intent", "prod", 3, role="shadow")]
    zoo.promote(moves, by="me", reason="")
    plan = load_plan(zoo, Recording(), heads=["intent"]).plan
    (target,) = plan.targets
    assert [version.number for version in target.versions()] == [1, 2, 3]
    assert [dict(version.aliases) for version in target.versions()] == [{"prod": 3}, {}, {}]


def test_without_sharing_every_version_has_a_tree_and_stages_of_its_own(zoo: Zoo) -> None:
    runtime = Recording()
    loaded = load_plan(zoo, runtime, share=False)
    assert sorted(runtime.loaded) == ["intent", "pii", "pii/tail", "tiny/0", "tiny/0", "tiny/1"]
    assert len(loaded.plan.roots) == 2
    assert len({node.path for node in loaded.plan.nodes()}) == 6
    again = load_plan(zoo, runtime, share=False, before=loaded)
    assert again.executables == loaded.executables
