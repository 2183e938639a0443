"""The engine on real ONNX Runtime, over a real zoo; every answer is compared with the network in numpy."""

import asyncio
import random
from collections.abc import Coroutine, Sequence
from typing import Any

import numpy as np
import pytest

from serving.batching import Limits
from serving.engine import Engine
from serving.loader import load_plan
from serving.plan import LoadedPlan, ServedVersion
from serving.runtimes import open_runtime
from serving.runtimes.base import Runtime
from tests.support.submitting import submit
from tests.support.tiny_zoo import ANSWERS, TinyZoo, make_tiny_zoo
from zoo import Zoo

HEADS = tuple(ANSWERS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return open_runtime("onnx", "cpu")


@pytest.fixture(scope="module")
def loaded(tiny: TinyZoo, runtime: Runtime) -> LoadedPlan:
    with Zoo.open(tiny.folder) as zoo:
        return load_plan(zoo, runtime)


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 20))


def assert_right(tiny: TinyZoo, text: str, versions: Sequence[ServedVersion], answers: Any) -> None:
    assert answers.keys() == {version.digest for version in versions}
    for version in versions:
        found = answers[version.digest][version.manifest.answer.output]
        np.testing.assert_allclose(found, tiny.expected(version.digest, text), atol=1e-5)


def test_one_call_with_four_heads_runs_the_shared_prefix_once(
    tiny: TinyZoo, runtime: Runtime, loaded: LoadedPlan
) -> None:
    async def scenario() -> None:
        engine = Engine(loaded, runtime)
        engine.start()
        versions = [engine.plan.resolve(head)[0] for head in HEADS]
        answers = await submit(engine, tiny.row("Hello, refund my order please!"), versions)
        assert_right(tiny, "Hello, refund my order please!", versions, answers)
        (root,) = engine.plan.roots
        runs = {node.stage.name: engine.statistics.stage_runs(node.path).runs for node in root.node.walk()}
        assert runs == {"tiny/0": 1, "tiny/1": 1, "pii/tail": 1, **dict.fromkeys(HEADS, 1)}
        await engine.close()

    run(scenario())


def test_a_mixed_batch_runs_the_shared_prefix_once_and_not_once_a_head(
    tiny: TinyZoo, runtime: Runtime, loaded: LoadedPlan
) -> None:
    async def scenario() -> None:
        engine = Engine(loaded, runtime)
        engine.start()
        versions = {head: engine.plan.resolve(head)[0] for head in HEADS}
        answers = await asyncio.gather(
            *(submit(engine, tiny.row(f"order {head}"), [version]) for head, version in versions.items())
        )
        for (head, version), answer in zip(versions.items(), answers, strict=True):
            assert_right(tiny, f"order {head}", [version], answer)
        (root,) = engine.plan.roots
        runs = engine.statistics.stage_runs(root.node.path)
        assert (runs.runs, runs.rows) == (1, 4)
        await engine.close()

    run(scenario())


def test_64_concurrent_callers_with_ragged_texts_each_get_their_own_answer(
    tiny: TinyZoo, runtime: Runtime, loaded: LoadedPlan
) -> None:
    async def scenario() -> None:
        chance = random.Random(7)
        engine = Engine(loaded, runtime, Limits(max_rows=16))
        engine.start()

        async def call(caller: int) -> None:
            for turn in range(3):
                text = f"order {caller} {turn} " + "late parcel " * chance.randrange(25)
                heads = chance.sample(HEADS, chance.randint(1, 4))
                versions = [engine.plan.resolve(head)[0] for head in heads]
                assert_right(tiny, text, versions, await submit(engine, tiny.row(text), versions))

        await asyncio.gather(*(call(caller) for caller in range(64)))
        await engine.close()

    run(scenario())
