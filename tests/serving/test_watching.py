"""The watcher against a real zoo and ONNX Runtime; the engine is what it swaps, and the clock stands."""

import asyncio
import gc
import logging
import weakref
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from serving.errors import StageFailed
from serving.loader import empty_plan, load_plan
from serving.plan import LoadedPlan
from serving.runtimes.base import Executable
from serving.watching import PlanWatcher
from tests.support.recording_runtime import Recording
from tests.support.tiny_zoo import TinyZoo, make_tiny_zoo
from zoo import Move, Zoo
from zoo.errors import Unavailable

T = TypeVar("T")


class Engine:
    """Holds the plan, and runs jobs where it is called."""

    def __init__(self) -> None:
        self.loaded = empty_plan()
        self.jobs = 0

    def prepare(self, loaded: LoadedPlan) -> None:
        """Nothing to make."""

    def swap(self, loaded: LoadedPlan) -> None:
        self.loaded = loaded

    async def run_on_device(self, job: Callable[[], T]) -> T:
        self.jobs += 1
        return job()


class Desk:
    """A watcher and everything around it."""

    def __init__(self, zoo: Zoo) -> None:
        self.zoo = zoo
        self.runtime = Recording()
        self.engine = Engine()
        self.now_s = 0.0
        self.told: list[bool] = []
        self.recorded: list[tuple[int, bool]] = []
        self.is_away = False
        self.watcher = PlanWatcher(
            self.newest,
            partial(load_plan, zoo, self.runtime),
            self.engine,
            self.runtime,
            clock=lambda: self.now_s,
            tell=self.tell,
            record=lambda epoch, _, ok: self.recorded.append((epoch, ok)),
        )

    def newest(self) -> int:
        if self.is_away:
            raise Unavailable("The registry cannot be used: gone.")
        return self.zoo.newest_promotion()

    async def tell(self, complete: bool) -> None:
        self.told.append(complete)

    @property
    def served(self) -> list[str]:
        return [str(version) for version in self.engine.loaded.plan.versions]


@pytest.fixture
def tiny(tmp_path: Path) -> TinyZoo:
    return make_tiny_zoo(tmp_path / "zoo", ["intent", "pii"])


@pytest.fixture
def zoo(tiny: TinyZoo) -> Iterator[Zoo]:
    with Zoo.open(tiny.folder) as opened:
        yield opened


@pytest.fixture
def desk(zoo: Zoo) -> Iterator[Desk]:
    desk = Desk(zoo)
    yield desk
    desk.watcher.close()


def live(desk: Desk, work: Callable[[], Awaitable[None]]) -> None:
    async def run() -> None:
        await desk.watcher.begin()
        await work()

    asyncio.run(run())


def test_nothing_is_loaded_while_nothing_is_promoted(desk: Desk) -> None:
    async def work() -> None:
        first = desk.engine.loaded
        desk.runtime.loaded.clear()
        for _ in range(3):
            await desk.watcher.look()
        assert desk.engine.loaded is first
        assert desk.runtime.loaded == []

    live(desk, work)
    assert desk.told == [True]


def test_a_promotion_is_served_after_the_next_look_and_only_what_is_new_loads_and_runs(
    desk: Desk, tiny: TinyZoo, zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1)
        desk.runtime.loaded.clear()
        desk.engine.jobs = 0
        await desk.watcher.look()
        assert desk.served == ["intent@2", "pii@1"]
        assert desk.runtime.loaded == ["intent"]
        assert desk.engine.jobs == 1
        assert desk.engine.loaded.epoch == zoo.newest_promotion()

    with caplog.at_level(logging.INFO, "serving.watching"):
        live(desk, work)
    assert "promotion 3: intent@prod is intent@2 (epoch 2), after 0.000 s" in caplog.messages
    assert (desk.told, desk.recorded) == ([True, True], [(2, True), (3, True)])


def test_a_version_that_does_not_run_leaves_what_served_before_and_is_said_once(
    desk: Desk, tiny: TinyZoo, zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1)
        tiny.publish(zoo, "pii", seed=1)
        desk.runtime.broken = {"intent"}
        for desk.now_s in (1.0, 2.0, 40.0):
            await desk.watcher.look()
        assert desk.served == ["intent@1", "pii@2"]

    live(desk, work)
    (line,) = caplog.messages
    assert line.startswith("intent@2, promoted to prod, is not served: Stage 'intent' failed")
    assert "So there it is intent@1 (epoch 1) as before." in line
    assert "`zoo rollback intent prod`" in line
    assert desk.told == [True, False, False], "tried at once, and again when 30 s had passed"


def test_what_did_not_run_is_served_when_it_does(desk: Desk, tiny: TinyZoo, zoo: Zoo) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1)
        desk.runtime.broken = {"intent"}
        await desk.watcher.look()
        desk.runtime.broken = set()
        desk.now_s = 29.0
        await desk.watcher.look()
        assert desk.served == ["intent@1", "pii@1"]
        desk.now_s = 30.0
        await desk.watcher.look()
        assert desk.served == ["intent@2", "pii@1"]

    live(desk, work)
    assert desk.told == [True, False, True]


def test_another_promotion_is_reason_enough_to_try_again(desk: Desk, tiny: TinyZoo, zoo: Zoo) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1)
        desk.runtime.broken = {"intent"}
        await desk.watcher.look()
        desk.runtime.broken = set()
        zoo.promote([Move("pii", "prod", 1)], by="me", reason="again")
        await desk.watcher.look()
        assert desk.served == ["intent@2", "pii@1"]

    live(desk, work)


def test_a_database_that_is_away_is_said_once_and_harms_nobody(
    desk: Desk, tiny: TinyZoo, zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1)
        desk.is_away = True
        for _ in range(3):
            await desk.watcher.look()
        assert desk.served == ["intent@1", "pii@1"]
        desk.is_away = False
        await desk.watcher.look()
        assert desk.served == ["intent@2", "pii@1"]

    with caplog.at_level(logging.INFO, "serving.watching"):
        live(desk, work)
    assert sum("cannot be read: The registry cannot be used: gone." in line for line in caplog.messages) == 1
    assert caplog.messages.count("the promotion log can be read again") == 1
    assert desk.told == [True, True]


def test_a_plan_that_cannot_be_loaded_at_all_leaves_the_old_one(
    desk: Desk, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def work() -> None:
        monkeypatch.setattr(desk.zoo, "newest_promotion", lambda: 99)
        monkeypatch.setattr(desk.zoo, "live", list)
        for _ in range(3):
            await desk.watcher.look()
        assert desk.served == ["intent@1", "pii@1"]

    live(desk, work)
    assert caplog.messages == ["promotion 99 cannot be served; what was served before goes on"]
    assert desk.told == [True, False]


def test_a_first_plan_that_does_not_run_is_an_error(desk: Desk) -> None:
    desk.runtime.broken = {"tiny/1"}
    with pytest.raises(StageFailed, match="'tiny/1' failed"):
        asyncio.run(desk.watcher.begin())
    assert desk.served == []


def test_a_shadow_that_would_cost_a_body_of_its_own_is_named(
    desk: Desk, tiny: TinyZoo, zoo: Zoo, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        tiny.publish(zoo, "intent", seed=1, promote_to=())
        zoo.promote([Move("intent", "prod", 2, role="shadow")], by="me", reason="")
        desk.watcher._load = partial(load_plan, zoo, desk.runtime, share=False)
        await desk.watcher.look()

    live(desk, work)
    assert [line for line in caplog.messages if "is a shadow of intent@prod and does not run" in line]


def test_stages_that_nobody_uses_any_more_are_freed(desk: Desk, tiny: TinyZoo, zoo: Zoo) -> None:
    loaded: list[weakref.ref[Executable]] = []
    desk.runtime.on_load = lambda executable: loaded.append(weakref.ref(executable))

    async def work() -> None:
        for seed in range(1, 6):
            desk.runtime.broken = {"intent"} if seed == 3 else set()
            tiny.publish(zoo, "intent", seed=seed)
            await desk.watcher.look()

    gc.disable()
    try:
        live(desk, work)
        alive = [ref for ref in loaded if ref() is not None]
        assert len(alive) == len(desk.engine.loaded.executables), "without the help of the cycle collector"
    finally:
        gc.enable()
