"""The gate: scores from below, errors from above, and each missed bound named."""

import pytest

from heads.base import Classify, Gate, Head, Regress
from heads.base.building.gate import check_gate
from heads.base.errors import InvalidHead
from zoo.errors import GateMissed
from zoo.manifest import Metrics, SliceMetrics

METRICS = Metrics(
    overall=SliceMetrics(examples=40, values={"accuracy": 0.8, "macro_f1": 0.75, "f1.good": 0.7}),
    slices={"negation": SliceMetrics(examples=7, values={"accuracy": 0.5, "macro_f1": 0.4})},
)


def head(**bounds: float) -> Head:
    return bounded({key.replace("__", "/"): value for key, value in bounds.items()})


def bounded(bounds: dict[str, float]) -> Head:
    return Head(name="mood", team="mood", task=Classify(labels=("good", "bad")), gate=Gate(bounds=bounds))


def test_a_head_that_reaches_every_bound_passes_and_says_what_it_reached() -> None:
    result = check_gate(head(accuracy=0.8, negation__macro_f1=0.3), METRICS)
    assert result.reached == {"accuracy": 0.8, "negation/macro_f1": 0.4}


def test_every_missed_bound_is_listed_with_found_expected_and_count() -> None:
    with pytest.raises(GateMissed) as caught:
        check_gate(head(accuracy=0.9, macro_f1=0.7, negation__accuracy=0.6), METRICS)
    text = str(caught.value)
    assert "accuracy: found 0.800 on 40 examples, expected at least 0.900" in text
    assert "negation/accuracy: found 0.500 on 7 examples, expected at least 0.600" in text
    assert "macro_f1" not in text
    assert "was not published" in text


def test_the_bound_on_an_error_is_an_upper_one() -> None:
    metrics = Metrics(overall=SliceMetrics(examples=9, values={"mae": 1.5}), slices={})
    task = Regress(low=0, high=10)
    passing = Head(name="u", team="u", task=task, gate=Gate(bounds={"mae": 1.5}))
    assert check_gate(passing, metrics).reached == {"mae": 1.5}
    with pytest.raises(GateMissed, match=r"found 1.500 on 9 examples, expected at most 1.400"):
        check_gate(Head(name="u", team="u", task=task, gate=Gate(bounds={"mae": 1.4})), metrics)


def test_a_slice_that_the_test_split_lacks_is_a_mistake_in_the_declaration() -> None:
    with pytest.raises(InvalidHead, match=r"no test example is in the slice 'negations'.* Did you mean 'negation'"):
        check_gate(head(negations__accuracy=0.1), METRICS)
    with pytest.raises(InvalidHead, match=r"'f1\.good' is not defined on the slice 'negation'"):
        check_gate(bounded({"negation/f1.good": 0.1}), METRICS)


def sure(**bounds: float) -> Head:
    task = Classify(labels=("good", "bad"))
    return Head(name="mood", team="mood", task=task, calibrate=True, ood="topics", gate=Gate(bounds=bounds))


def test_the_bound_on_a_calibration_error_is_an_upper_one_and_on_telling_strangers_apart_a_lower_one() -> None:
    metrics = Metrics(overall=SliceMetrics(examples=40, values={"ece": 0.08, "nll": 0.5, "ood_auroc": 0.9}), slices={})
    assert check_gate(sure(ece=0.08, nll=0.6, ood_auroc=0.9), metrics).reached["ece"] == 0.08
    with pytest.raises(GateMissed) as caught:
        check_gate(sure(ece=0.07, nll=0.4, ood_auroc=0.95), metrics)
    for expected in ("ece: found 0.080 on 40 examples, expected at most 0.070", "at most 0.400", "at least 0.950"):
        assert expected in str(caught.value)


def test_a_certainty_is_bounded_where_it_is_declared_and_over_the_whole_split() -> None:
    with pytest.raises(InvalidHead, match=r"bounds 'ece', which is of scores with 'calibrate' or 'uncertainty'"):
        head(ece=0.1)
    with pytest.raises(InvalidHead, match=r"bounds 'short/ece'; 'ece' is measured over the whole test split"):
        sure(**{"short/ece": 0.1})
    with pytest.raises(InvalidHead, match=r"bounds 'ood_auroc', which is of a head with 'ood'"):
        Head(
            name="u",
            team="u",
            task=Regress(low=0, high=1),
            uncertainty="gp",
            gate=Gate(bounds={"nll": 1.0, "ood_auroc": 0.9}),
        )
