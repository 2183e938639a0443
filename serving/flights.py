"""Rows in flight: each waits or runs once, however many requests claim it."""

from typing import TYPE_CHECKING

from serving.plan import Route, ServedVersion
from serving.request import Claim
from serving.work import Answers, Found
from zoo.preprocessing import Row

if TYPE_CHECKING:
    from serving.pinned import PinnedPlan

__all__ = ["Flight", "FlightKey"]

FlightKey = tuple[object, str]
"""Root and input digest: rows of one plan that agree on it are the same row."""


class Flight:
    """A row that waits or runs: a ``WaitingRow`` of the policy and a ``Work`` of the execution.

    Its claims change on the event loop alone, and so does all else of it while it waits, under the lanes' lock. Hashed
    by identity and without validation: one is made for nearly every row of every request.
    """

    __slots__ = (
        "arrived_s",
        "cached",
        "claims",
        "deadline_s",
        "features",
        "key",
        "length",
        "nbytes",
        "parked",
        "paths",
        "plan",
        "priority",
        "route",
        "row",
        "start",
        "team",
        "waits",
        "whole",
    )

    def __init__(self, plan: "PinnedPlan", claim: Claim, found: Found, key: FlightKey | None) -> None:
        row, request = claim.row, claim.request
        self.plan = plan
        self.key = key
        self.row = row
        self.length = row.length
        self.nbytes = _bytes_of(row)
        self.arrived_s = request.arrived_s
        self.priority = request.priority
        self.deadline_s = request.deadline_s
        """The earliest that one of its claims has: how urgent it is."""
        self.team = claim.route.versions[0].manifest.team
        self.claims: list[Claim] = []
        self.parked: list[Claim] = []
        """What this run does not answer, and will find in the cache when it has ended."""
        self.waits = True
        self.head_for(claim.route, found)
        self.add(claim)

    def head_for(self, whole: Route, found: Found) -> None:
        """Set where it goes: all that is wanted of it, and what the cache has of that."""
        self.whole = whole
        self.start = found.start
        self.route: Route = found.route or whole
        self.paths = self.route.paths
        self.features = found.features
        self.cached = found.answers

    def add(self, claim: Claim) -> None:
        """Let one more claim have what it brings."""
        self.claims.append(claim)
        claim.flight = self

    def park(self, claim: Claim) -> None:
        """Let a claim wait for its end."""
        self.parked.append(claim)
        claim.flight = self

    def remove(self, claim: Claim) -> None:
        """Forget a claim whose request is over."""
        claim.flight = None
        (self.claims if claim in self.claims else self.parked).remove(claim)

    def release(self) -> tuple[list[Claim], list[Claim]]:
        """Take out and return its claims, and those that are parked."""
        claims, self.claims = self.claims, []
        parked, self.parked = self.parked, []
        for claim in claims:
            claim.flight = None
        for claim in parked:
            claim.flight = None
        return claims, parked

    def wanted(self) -> bool:
        """Return whether anybody still waits for it; any thread may ask.

        It looks at no clock: a request is over as soon as its deadline has passed, which the event loop sees to.
        """
        for claim in self.claims:  # noqa: SIM110 - asked for every row at every node, and a generator costs twice this
            if not claim.request.future.done():
                return True
        return False

    def brings(self, route: Route) -> bool:
        """Return whether it runs for all that ``route`` wants."""
        whole = self.whole
        return route is whole or _has(whole.versions + whole.shadows, route.versions + route.shadows)

    def answer_for(self, claim: Claim, answers: Answers) -> Answers | None:
        """Return the part of what it brought that ``claim`` wants; None if an answer of that is missing."""
        if claim.route is self.whole and not self.cached:
            mine = answers
        else:
            known = {**self.cached, **answers}
            wanted = claim.route.versions + claim.route.shadows
            mine = {version.digest: known[version.digest] for version in wanted if version.digest in known}
        for version in claim.route.versions:
            if version.digest not in mine:
                return None
        return mine


def _has(all_of_it: tuple[ServedVersion, ...], wanted: tuple[ServedVersion, ...]) -> bool:
    return all(version in all_of_it for version in wanted)


def _bytes_of(row: Row) -> int:
    size = 0
    for array in row.tensors.values():
        size += array.nbytes
    return size
