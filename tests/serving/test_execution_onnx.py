"""The execution on real ONNX Runtime, from several threads at once; compared with the network in numpy."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from serving.cache import NodeCache
from serving.execution import Answers, Execution
from serving.loader import load_plan
from serving.plan import LoadedPlan
from serving.runtimes import open_runtime
from serving.runtimes.base import Runtime
from tests.support.asked import answer_all
from tests.support.tiny_zoo import ANSWERS, TinyZoo, make_tiny_zoo
from zoo import Zoo
from zoo.preprocessing import Row

HEADS = tuple(ANSWERS)
WORDS = ("hello", "refund", "my order 4711", "please", "ada@bob.", "never late thanks")
Question = tuple[str, tuple[str, ...]]
"""A text, and the heads that are asked."""

QUESTIONS: st.SearchStrategy[list[Question]] = st.lists(
    st.tuples(
        st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join),
        st.lists(st.sampled_from(HEADS), min_size=1, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=6,
)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> TinyZoo:
    return make_tiny_zoo(tmp_path_factory.mktemp("zoo"))


@pytest.fixture(scope="module")
def runtime() -> Runtime:
    return open_runtime("onnx", "cpu", threads=2, lanes=2)


@pytest.fixture(scope="module")
def loaded(tiny: TinyZoo, runtime: Runtime) -> LoadedPlan:
    with Zoo.open(tiny.folder) as zoo:
        return load_plan(zoo, runtime)


def ask(
    tiny: TinyZoo, loaded: LoadedPlan, execution: Execution, questions: Sequence[Question]
) -> list[tuple[Row, Answers]]:
    rows = [tiny.row(text) for text, _ in questions]
    routes = [loaded.plan.routes([loaded.plan.resolve(head)[0] for head in heads])[0] for _, heads in questions]
    answers, _ = answer_all(execution, list(zip(rows, routes, strict=True)))
    return list(zip(rows, answers, strict=True))


def assert_right(
    tiny: TinyZoo, loaded: LoadedPlan, questions: Sequence[Question], answered: Sequence[tuple[Row, Answers]]
) -> None:
    for (text, heads), (_, answers) in zip(questions, answered, strict=True):
        versions = [loaded.plan.resolve(head)[0] for head in heads]
        assert answers.keys() == {version.digest for version in versions}
        for version in versions:
            found = answers[version.digest][version.manifest.answer.output]
            np.testing.assert_allclose(found, tiny.expected(version.digest, text), atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(batches=st.lists(QUESTIONS, max_size=5), max_bytes=st.sampled_from([0, 4_000, 1 << 20]))
def test_answers_are_right_with_a_cache_of_any_size_after_any_requests(
    tiny: TinyZoo, runtime: Runtime, loaded: LoadedPlan, batches: list[list[Question]], max_bytes: int
) -> None:
    execution = Execution(loaded, runtime, lambda: 0.0, NodeCache(max_bytes))
    for questions in batches:
        assert_right(tiny, loaded, questions, ask(tiny, loaded, execution, questions))


@settings(max_examples=15, deadline=None)
@given(batches=st.lists(QUESTIONS, min_size=2, max_size=12), max_bytes=st.sampled_from([0, 8_000, 1 << 20]))
def test_no_batch_shows_in_an_answer_of_another_or_in_the_cache_however_lanes_interleave(
    tiny: TinyZoo, runtime: Runtime, loaded: LoadedPlan, batches: list[list[Question]], max_bytes: int
) -> None:
    execution = Execution(loaded, runtime, lambda: 0.0, NodeCache(max_bytes))
    with ThreadPoolExecutor(2) as lanes:
        answered = list(lanes.map(lambda questions: ask(tiny, loaded, execution, questions), batches))
    for questions, each in zip(batches, answered, strict=True):  # after all batches: buffers were used again
        assert_right(tiny, loaded, questions, each)
        assert_right(tiny, loaded, questions, ask(tiny, loaded, execution, questions))
