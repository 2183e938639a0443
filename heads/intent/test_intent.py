"""What must stay true of this package: of its labels, and of the head that was built from them."""

import pytest

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
    punctuation,
    slices,
    spaces,
    typos,
)
from heads.intent.head import HEAD

model = model_of(HEAD)

EDGE_CASES = ("negation", "typos", "mixed_language", "short", "long", "sarcasm", "two_intents")
PLAIN = {
    "refund": ["I want my money back.", "Please refund my order.", "Can I send this back and get a refund?"],
    "order_status": ["Where is my parcel?", "When will my order arrive?", "Has my order shipped yet?"],
    "cancel": ["Cancel my order, please.", "I'd like to cancel my subscription.", "Please cancel it before it ships."],
    "account_access": ["I can't log in.", "I forgot my password.", "My account is locked."],
    "billing": ["I was charged twice.", "There's an error in my invoice.", "Which VAT number is on the bill?"],
    "bug_report": ["The app crashes when I open it.", "The page shows error 500.", "The search button does nothing."],
    "product_question": ["Is the jacket waterproof?", "Does it come in blue?", "What is the lamp made of?"],
    "praise": ["You are wonderful, thank you!", "Great service, well done.", "I love your shop!"],
}
TEXTS = [text for texts in PLAIN.values() for text in texts]


def test_the_labels_hold() -> None:
    labels_hold(HEAD, train=40, test=10, slices=EDGE_CASES)


@pytest.mark.parametrize("label", PLAIN)
def test_plain_requests_are_understood(model: Model, label: str) -> None:
    minimum_functionality(model, PLAIN[label], label)


def test_slips_of_the_finger_do_not_change_the_intent(model: Model) -> None:
    invariance(model, TEXTS, typos(seed=0), at_least=0.8)


def test_how_it_is_typed_does_not_change_the_intent(model: Model) -> None:
    invariance(model, TEXTS, casing("upper"), casing("lower"), spaces(seed=0), punctuation(seed=0), at_least=0.9)


def test_who_writes_and_about_which_order_does_not_change_the_intent(model: Model) -> None:
    signed = [f"{text} This is Maria, order 48151." for text in TEXTS]
    invariance(model, signed, names(seed=0), numbers(seed=0), at_least=0.95)


def test_asking_for_the_money_makes_a_refund_likelier(model: Model) -> None:
    texts = PLAIN["bug_report"] + PLAIN["product_question"]
    directional(model, texts, append(" I want my money back."), rises="refund")


def test_the_valid_split_is_answered_well_enough_where_it_is_hard(model: Model) -> None:
    slices(model, {"macro_f1": 0.8, "typos/accuracy": 0.7})
