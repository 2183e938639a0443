"""The one way to the labels of a test split: every reading is logged in the zoo before the examples are handed out."""

from dataclasses import dataclass

from zoo import Zoo
from zoo.labels import Example, Labels
from zoo.registry import NewReading

__all__ = ["TestSplit", "read_test_split"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TestSplit:
    """The test examples of a head.

    Attributes:
        examples: with their targets.
        readings: how often they were read since they last changed, this time included.
    """

    __test__ = False  # pytest would take the name for that of a test

    examples: tuple[Example, ...]
    readings: int

    @property
    def told(self) -> str:
        """How often they were read, for people.

        >>> TestSplit(examples=(), readings=3).told
        'its test split was read 3 times since it last changed'
        """
        times = "once" if self.readings == 1 else f"{self.readings} times"
        return f"its test split was read {times} since it last changed"


def read_test_split(
    zoo: Zoo, head: str, labels: Labels, *, by: str, reason: str, build_key: str, number: int = 0
) -> TestSplit:
    """Log a reading of a head's test split, and return the split.

    What is chosen after looking at test scores is fitted to them, a little more with each look; the count of looks
    says how much a score may still be believed.

    Args:
        zoo: where the reading is logged.
        head: whose test split.
        labels: its labels.
        by: who reads.
        reason: what for: "gate", or the test that asks.
        build_key: of the build that reads, or of the version that is tested.
        number: the version that is tested; 0 at a gate, where there is none yet.

    Raises:
        Unavailable: the reading cannot be logged; then there is none.
    """
    test_split = labels.test_digest()
    zoo.log_reading(
        NewReading(
            head=head,
            labels=labels.digest,
            test_split=test_split,
            build_key=build_key,
            by=by,
            reason=reason,
            number=number,
        )
    )
    return TestSplit(examples=labels.for_gate(), readings=len(zoo.readings(head, test_split)))
