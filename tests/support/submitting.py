"""One row to an engine, as a handler would ask for it."""

from collections.abc import Mapping, Sequence

from serving.engine import Engine
from serving.plan import ServedVersion
from serving.runtimes.base import Arrays
from zoo.preprocessing import Row


async def submit(
    engine: Engine, row: Row, served: Sequence[ServedVersion], *, deadline: float | None = None
) -> Mapping[str, Arrays]:
    """Answer one row with the plan of the moment."""
    (answer,) = await engine.submit_all((row,), served, loaded=engine.loaded, deadline=deadline)
    return answer
