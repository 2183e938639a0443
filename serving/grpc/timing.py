"""A caller's deadline, by the engine's clock."""

from collections.abc import Callable

from serving.grpc.guard import Context

__all__ = ["deadline_of"]


def deadline_of(context: Context, clock: Callable[[], float], *, at_most_s: float | None = None) -> float | None:
    """Return when the caller stops waiting.

    Args:
        context: the call, which knows what is left of its own deadline.
        clock: monotonic, in seconds.
        at_most_s: a further limit that the request itself sets.

    Returns:
        The earlier of the two by ``clock``, or None if there is neither.
    """
    left = [seconds for seconds in (context.time_remaining(), at_most_s) if seconds is not None]
    return clock() + min(left) if left else None
