"""What must stay true of this package: of its labels, and of the head that was built from them."""

from heads.base.testing import (
    Model,
    append,
    casing,
    directional,
    invariance,
    labels_hold,
    minimum_functionality,
    model_of,
    names,
    numbers,
    slices,
    spaces,
    typos,
)
from heads.urgency.head import HEAD

model = model_of(HEAD)

EDGE_CASES = (
    "negation",
    "typos",
    "mixed_language",
    "short",
    "long",
    "sarcasm",
    "calm_but_urgent",
    "loud_but_trivial",
)
CALM = [
    "Thank you, all is settled and you can close the ticket.",
    "I really like the new catalogue.",
    "Which colours does the lamp come in?",
    "No hurry at all, answer when you find the time.",
]
PRESSING = [
    "The shop is down and nobody can pay!",
    "There is smoke coming out of the device right now.",
    "Somebody is hurt, call an ambulance.",
    "Our whole office is locked out and payroll is due today.",
]
TEXTS = [*CALM, *PRESSING]


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=40, test=10, slices=EDGE_CASES)


def test_what_can_wait_is_low(model: Model) -> None:
    minimum_functionality(model, CALM, (0, 4))


def test_what_cannot_wait_is_high(model: Model) -> None:
    minimum_functionality(model, PRESSING, (5, 10))


def test_danger_makes_anything_more_urgent(model: Model) -> None:
    directional(model, CALM, append(" Somebody is bleeding, help us now!"), rises="value", by=0.5)


def test_having_time_makes_anything_less_urgent(model: Model) -> None:
    directional(model, PRESSING, append(" It is solved already, there's no hurry at all."), falls="value")


def test_slips_of_the_finger_hardly_move_the_value(model: Model) -> None:
    invariance(model, TEXTS, typos(seed=0), spaces(seed=0), within=2, at_least=0.9)


def test_shouting_hardly_moves_the_value(model: Model) -> None:
    invariance(model, TEXTS, casing("upper"), within=1)


def test_names_and_numbers_hardly_move_the_value(model: Model) -> None:
    invariance(model, [f"{text} Maria, order 48151" for text in TEXTS], names(seed=0), numbers(seed=0), within=1)


def test_the_valid_split_is_answered_well_enough(model: Model) -> None:
    slices(model, {"mae": 1.7, "spearman": 0.7})
