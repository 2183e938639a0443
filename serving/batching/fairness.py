"""Whose turn it is: weighted deficit round robin, in predicted seconds of the device.

Each team has an account: the seconds that its rows took, divided by its weight. The turn is that of the waiting team
with the lowest account, so teams that wait are served in proportion to their weights, one row's cost more or less.
What a team takes while nobody else waits costs it nothing, since the level rises with it. A team that comes back is
lifted to ``burst_s`` below the level: it cannot save up more than that.
"""

from collections.abc import Iterable, Mapping

from serving.batching.limits import Limits

__all__ = ["Accounts"]

FADE = 0.02
"""How far the remembered time of a team's rows goes towards that of its last ones, if these were quicker."""


class _Account:
    __slots__ = ("asked_s", "peak_s", "taken_s")

    def __init__(self, taken_s: float, asked_s: float) -> None:
        self.taken_s = taken_s
        self.asked_s = asked_s
        self.peak_s = 0.0


class Accounts:
    """What each team took of the device; nothing here knows a row."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._accounts: dict[str, _Account] = {}
        self._level_s = 0.0

    def __len__(self) -> int:
        return len(self._accounts)

    def taken_s(self, team: str) -> float:
        """Return the account of a team that waits."""
        return self._accounts[team].taken_s

    def asks(self, team: str, now_s: float, *, first: bool) -> None:
        """Note that a team's row came; ``first`` if none of its rows waits."""
        account = self._accounts.get(team)
        if account is None:
            self._forget_idle(now_s)
            account = self._accounts[team] = _Account(self._lowest_s(team), now_s)
        elif first:
            account.taken_s = max(account.taken_s, self._lowest_s(team))
        account.asked_s = now_s

    def charge(self, charges: Mapping[str, float], peaks: Mapping[str, float], waiting: Iterable[str]) -> None:
        """Book a batch.

        Args:
            charges: by team, its part of the batch's seconds.
            peaks: by team, how long its rows would have taken by themselves.
            waiting: the teams that had rows waiting when the batch left, those of ``charges`` included.
        """
        lowest_s = min((self._accounts[team].taken_s for team in waiting), default=self._level_s)
        self._level_s = max(self._level_s, lowest_s)
        for team, seconds in charges.items():
            account = self._accounts[team]
            account.taken_s += seconds / self._limits.weight(team)
            account.peak_s = max(peaks[team], account.peak_s + FADE * (peaks[team] - account.peak_s))

    def turn(self, waiting: Iterable[str]) -> str:
        """Return the team of ``waiting``, at least one, whose turn it is."""
        return min(waiting, key=self.taken_s)

    def is_behind(self, team: str) -> bool:
        """Return whether a team took less than its share, by half of ``burst_s`` or more."""
        return self._is_behind(team, self._accounts[team])

    def courtesy_s(self, now_s: float) -> float:
        """Return how long a batch of the other teams may take while teams that are behind may ask at any moment.

        That is ``max_slowdown - 1`` times what such a team's own rows take: an answer that has to wait for a batch
        that has just left then takes ``max_slowdown`` times as long as alone. Infinity where no team is behind.
        """
        since_s = now_s - self._limits.memory_s
        return min(
            (
                (self._limits.max_slowdown - 1) * account.peak_s
                for team, account in self._accounts.items()
                if account.asked_s >= since_s and account.peak_s and self._is_behind(team, account)
            ),
            default=float("inf"),
        )

    def _is_behind(self, team: str, account: _Account) -> bool:
        return account.taken_s <= self._level_s - self._limits.burst_s / self._limits.weight(team) / 2

    def _lowest_s(self, team: str) -> float:
        return self._level_s - self._limits.burst_s / self._limits.weight(team)

    def _forget_idle(self, now_s: float) -> None:
        """Drop the teams that would begin anew if they came back, so that the accounts are those of who asks."""
        since_s = now_s - self._limits.memory_s
        for team, account in list(self._accounts.items()):
            if account.asked_s < since_s and account.taken_s <= self._lowest_s(team):
                del self._accounts[team]
