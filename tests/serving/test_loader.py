from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from serving.errors import StageFailed, UnknownModel
from serving.loader import load_plan
from serving.runtimes import open_runtime
from serving.runtimes.base import Arrays, DeviceTensors, Executable, Runtime
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo
from zoo.errors import Corrupt
from zoo.manifest import Format, StageManifest


@dataclass
class Recording:
    """A real runtime that remembers what it loaded and ran."""

    inner: Runtime = field(default_factory=lambda: open_runtime("onnx", "cpu"))
    name: str = "recording"
    device: str = "cpu"
    format: Format = "onnx"
    lanes: int = 1
    loaded: list[str] = field(default_factory=list)
    ran: list[str] = field(default_factory=list)

    def load(self, stage: StageManifest, artifact: bytes) -> Executable:
        self.loaded.append(stage.name)
        inner = self.inner.load(stage, artifact)

        def run(tensors: DeviceTensors) -> DeviceTensors:
            self.ran.append(stage.name)
            return inner(tensors)

        return run

    def to_device(self, arrays: Arrays) -> DeviceTensors:
        return self.inner.to_device(arrays)

    def take(self, tensors: DeviceTensors, rows: object) -> DeviceTensors:
        raise AssertionError("one row that asks everything needs no picking")

    def to_host(self, tensors: DeviceTensors) -> Arrays:
        return self.inner.to_host(tensors)


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    return make_tiny_zoo(tmp_path / "zoo", ["intent", "pii"])


@pytest.fixture
def zoo(tiny: TinyZoo) -> Iterator[Zoo]:
    with Zoo.open(tiny.folder) as opened:
        yield opened


def test_each_distinct_stage_is_loaded_once_and_run_once_to_warm_up(zoo: Zoo) -> None:
    runtime = Recording()
    loaded = load_plan(zoo, runtime)
    assert sorted(runtime.loaded) == ["intent", "pii", "pii/tail", "tiny/0", "tiny/1"]
    assert sorted(runtime.ran) == sorted(runtime.loaded)
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


def test_damaged_bytes_are_never_loaded(tiny: TinyZoo, zoo: Zoo) -> None:
    head = zoo.stage(zoo.manifest(zoo.resolve("intent").version).stages[-1].digest)
    blob = head.artifacts["onnx"].blob
    (file,) = [path for path in tiny.folder.rglob("*") if path.is_file() and path.name in (blob, blob[2:])]
    file.chmod(0o600)
    file.write_bytes(b"damaged")
    runtime = Recording()
    with pytest.raises(Corrupt):
        load_plan(zoo, runtime)
    assert "intent" not in runtime.loaded


def test_a_stage_that_does_not_run_is_found_at_loading_with_its_cause(zoo: Zoo) -> None:
    class Broken(Recording):
        def load(self, stage: StageManifest, artifact: bytes) -> Executable:
            def run(tensors: DeviceTensors) -> DeviceTensors:
                raise RuntimeError("no kernel for this operator")

            return run

    with pytest.raises(StageFailed, match=r"'tiny/0' failed .* The cause: no kernel for this operator"):
        load_plan(zoo, Broken())
