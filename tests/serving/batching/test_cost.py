import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.batching import CostModel
from serving.batching.cost import PRIOR_FIXED_S, PRIOR_PER_TOKEN_S

FIXED_S, PER_TOKEN_S, BEND_S = 0.0012, 0.000155, 0.4e-6


def true_s(rows: int, width: int) -> float:
    return FIXED_S + rows * width * (PER_TOKEN_S + BEND_S * width)


def taught(runs: int, *, noise: float = 0.0, seed: int = 0) -> CostModel:
    chance, costs = random.Random(seed), CostModel()
    for _ in range(runs):
        rows, width = chance.randint(1, 8), min(139, max(3, round(chance.lognormvariate(2.8, 0.75))))
        costs.observe("body", rows=rows, width=width, seconds=true_s(rows, width) * chance.lognormvariate(0, noise))
    return costs


def test_a_node_that_never_ran_is_predicted_by_the_prior() -> None:
    assert CostModel().predict_s("body", 4, 10) == pytest.approx(PRIOR_FIXED_S + 40 * PRIOR_PER_TOKEN_S)


@pytest.mark.parametrize("seed", range(5))
def test_predictions_come_within_a_tenth_of_the_truth(seed: int) -> None:
    costs = taught(500, noise=0.1, seed=seed)
    errors = sorted(
        abs(costs.predict_s("body", rows, width) / true_s(rows, width) - 1)
        for rows in (1, 2, 4, 8)
        for width in range(5, 61, 5)
    )
    assert errors[len(errors) // 2] < 0.05
    assert errors[int(len(errors) * 0.9)] < 0.1


def test_a_width_that_never_ran_is_predicted_from_the_others() -> None:
    costs = CostModel()
    for index in range(100):
        rows, width = 1 + index % 8, 16 + index % 2 * 16
        costs.observe("body", rows=rows, width=width, seconds=FIXED_S + PER_TOKEN_S * rows * width)
    assert costs.predict_s("body", 4, 64) == pytest.approx(FIXED_S + PER_TOKEN_S * 4 * 64, rel=0.1)


def test_the_first_run_of_a_node_says_nothing_of_the_next_one() -> None:
    costs = CostModel()
    costs.observe("body", rows=1, width=16, seconds=3.0)
    assert costs.predict_s("body", 1, 16) < 0.001
    for _ in range(3):
        costs.observe("body", rows=1, width=16, seconds=0.003)
    assert costs.predict_s("body", 1, 16) == pytest.approx(0.003, rel=0.05)


def test_a_run_that_stalled_moves_the_prediction_little() -> None:
    costs = taught(200)
    before_s = costs.predict_s("body", 4, 22)
    costs.observe("body", rows=4, width=22, seconds=10.0)
    assert costs.predict_s("body", 4, 22) < 1.5 * before_s


def test_a_device_that_became_slower_is_believed_after_a_few_runs() -> None:
    costs = taught(200)
    for _ in range(10):
        costs.observe("body", rows=4, width=22, seconds=10 * true_s(4, 22))
    assert costs.predict_s("body", 4, 22) == pytest.approx(10 * true_s(4, 22), rel=0.1)


def test_batches_of_one_size_alone_leave_larger_ones_looking_cheap_enough_to_try() -> None:
    costs = CostModel()
    for _ in range(100):
        costs.observe("body", rows=8, width=22, seconds=0.004)
    assert costs.predict_s("body", 8, 22) == pytest.approx(0.004, rel=0.01)
    assert costs.predict_s("body", 64, 22) < 4 * 0.004


def test_a_path_takes_what_its_nodes_take() -> None:
    costs = taught(100)
    assert costs.path_s(("body", "head"), 4, 22) == pytest.approx(
        costs.predict_s("body", 4, 22) + costs.predict_s("head", 4, 22)
    )


def test_nodes_that_no_plan_has_any_more_are_forgotten() -> None:
    costs = taught(100)
    costs.keep(["head"])
    assert costs.predict_s("body", 1, 1) == CostModel().predict_s("body", 1, 1)


@given(st.lists(st.tuples(st.integers(1, 64), st.integers(1, 512), st.floats(0, 10)), max_size=60))
def test_no_prediction_is_negative_or_falls_with_more_rows(runs: list[tuple[int, int, float]]) -> None:
    costs = CostModel()
    for rows, width, seconds in runs:
        costs.observe("body", rows=rows, width=width, seconds=seconds)
    for width in (1, 20, 500):
        assert 0 <= costs.predict_s("body", 1, width) <= costs.predict_s("body", 8, width)
