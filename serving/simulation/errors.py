"""What a simulation can refuse, on one page.

::

    SimulationError
    └── InvalidTrace   a line of a trace is not as described
"""

__all__ = ["InvalidTrace", "SimulationError"]


class SimulationError(Exception):
    """The root of everything that a simulation raises on purpose."""

    code = "simulation"


class InvalidTrace(SimulationError):
    """A line of a trace is not as described; the text says which, and what is wrong with it."""

    code = "simulation.invalid_trace"
