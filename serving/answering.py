"""What answers rows, as handlers see it: the engine itself, or the way to one that lives in another process."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from serving.batching import Priority
from serving.plan import LoadedPlan, Plan, ServedVersion
from serving.request import Trace
from serving.runtimes.base import Arrays
from serving.statistics import ShadowOutcome, VersionStatistics
from zoo.preprocessing import Row

__all__ = ["Answering", "Counting"]


class Counting(Protocol):
    """Counts what happens to calls before and after the engine. ``serving.statistics.Statistics`` does."""

    def record_call(self, rpc: str, seconds: float, code: str, refused: Sequence[ServedVersion] = ()) -> None:
        """Add one call of an rpc; ``refused`` are the versions that it asked, if it never reached the engine."""
        ...

    def record_shadow(self, shadow: ServedVersion, outcome: ShadowOutcome) -> None:
        """Add one row on which a shadow was compared with what answered."""
        ...


class Answering(Protocol):
    """Answers rows. ``serving.engine.Engine`` does, and so does ``serving.frontends.remote.RemoteEngine``."""

    @property
    def loaded(self) -> LoadedPlan:
        """What it answers with now. A request reads it once, and hands it back to ``submit_all``."""
        ...

    @property
    def plan(self) -> Plan:
        """The plan of ``loaded``."""
        ...

    @property
    def statistics(self) -> Counting:
        """Counts for the whole server what handlers have to say."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it takes rows."""
        ...

    def check_room(self, served: Sequence[ServedVersion], rows: int, deadline: float | None) -> None:
        """See that a request would not be refused at once, before work goes into its rows.

        Raises:
            Overloaded: it would, for want of room.
            DeadlineExceeded: it would, for want of time.
            Unavailable: nothing is taken now.
        """
        ...

    async def submit_all(
        self,
        rows: Sequence[Row],
        served: Sequence[ServedVersion],
        *,
        loaded: LoadedPlan,
        deadline: float | None = None,
        priority: Priority = Priority.NORMAL,
        shadows: Sequence[ServedVersion] = (),
        trace: Trace | None = None,
    ) -> Sequence[Mapping[str, Arrays]]:
        """Answer several rows with several versions, all of them or none; ``Engine.submit_all`` says it in full."""
        ...

    async def counted(self, versions: Sequence[ServedVersion]) -> Sequence[VersionStatistics]:
        """Return what each version did since the server started, whichever process was asked for it.

        Raises:
            Unavailable: what counts cannot be reached.
        """
        ...
