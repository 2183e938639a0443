"""Whose turn it is: weighted deficit round robin, in predicted seconds of the device.

Each team has an account: the seconds that its rows took, divided by its weight. The turn is that of the waiting team
with the lowest account, so teams that wait are served in proportion to their weights, one batch more or less. What a
team takes while nobody else waits costs it nothing, since the level rises with it. A team that comes back when nothing
of it waited is moved to the account of whoever is next, if its own is higher, and to ``burst_s`` below the level, if it
is lower: it has no old debts, and saves up no more than that.
"""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from serving.batching.limits import Limits

__all__ = ["Account", "Accounts", "Part"]

FADE = 0.05
"""How far what is remembered of a team's rows goes towards its last ones, where these are less."""

REMEMBERED = 64
"""So many accounts are kept whether they are in use or not."""


@dataclass(slots=True)
class Part:
    """A team's part in one batch: what it is charged, and what its rows are by themselves."""

    charge_s: float = 0.0
    alone_s: float = 0.0
    work_s: float = 0.0


@dataclass(slots=True)
class Account:
    """One team's.

    Attributes:
        taken_s: seconds of the device over its weight; it means something next to the other accounts alone.
        asked_s: when its last row came.
        served: the number of the last batch that had a row of it.
        alone_s: how long the rows that it has in a batch take by themselves: the most of late; 0 if none ran yet.
        work_s: what these rows are in the largest batches.
    """

    taken_s: float
    asked_s: float
    served: int = 0
    alone_s: float = 0.0
    work_s: float = 0.0


class Accounts:
    """What each team took of the device; nothing here knows a row."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._accounts: dict[str, Account] = {}
        self._level_s = 0.0
        self._batches = 0
        self._most = REMEMBERED

    def __len__(self) -> int:
        return len(self._accounts)

    def __getitem__(self, team: str) -> Account:
        return self._accounts[team]

    def asks(self, team: str, now_s: float) -> None:
        """Note that a team's row came, one that had rows waiting."""
        self._accounts[team].asked_s = now_s

    def comes(self, team: str, now_s: float, waiting: Collection[str]) -> None:
        """Note that a team's row came, one that had none waiting; ``waiting`` are the teams that have."""
        account = self._accounts.get(team)
        if account is None:
            self._forget_idle(now_s, waiting)
            account = self._accounts[team] = Account(self._level_s, now_s)
        highest_s = min((self._accounts[other].taken_s for other in waiting), default=self._level_s)
        account.taken_s = min(max(account.taken_s, self._lowest_s(team)), highest_s)
        account.asked_s = now_s

    def next_of(self, waiting: Iterable[str]) -> str:
        """Return whose turn it is: the lowest account; of equal ones that which was served longest ago."""
        return min(waiting, key=lambda team: (self._accounts[team].taken_s, self._accounts[team].served))

    def book(self, parts: dict[str, Part], waiting: Iterable[str]) -> None:
        """Charge the teams for a batch.

        Args:
            parts: by team, its part of the batch.
            waiting: the teams that had rows waiting when the batch was chosen, those of ``parts`` included.
        """
        self._batches += 1
        lowest_s = min((self._accounts[team].taken_s for team in waiting), default=self._level_s)
        self._level_s = max(self._level_s, lowest_s)
        for team, part in parts.items():
            account = self._accounts[team]
            account.served = self._batches
            account.taken_s += part.charge_s / self._limits.weight(team)
            alone_s = max(part.alone_s, part.charge_s)
            account.alone_s = max(alone_s, account.alone_s + FADE * (alone_s - account.alone_s))
            account.work_s = max(part.work_s, account.work_s + FADE * (part.work_s - account.work_s))

    def about(self, now_s: float) -> Iterator[tuple[str, Account]]:
        """Yield the teams that asked lately, and may again at any moment."""
        since_s = now_s - self._limits.memory_s
        return (item for item in self._accounts.items() if item[1].asked_s >= since_s)

    def _lowest_s(self, team: str) -> float:
        return self._level_s - self._limits.burst_s / self._limits.weight(team)

    def _forget_idle(self, now_s: float, waiting: Collection[str]) -> None:
        """Drop the teams that ask nothing any more; only now and then, since it looks at each."""
        if len(self._accounts) < self._most:
            return
        since_s = now_s - self._limits.memory_s
        for team, account in list(self._accounts.items()):
            if account.asked_s < since_s and team not in waiting:
                del self._accounts[team]
        self._most = max(REMEMBERED, 2 * len(self._accounts))
