"""What a wire knows of a call beside its message, for handlers that log and trace."""

from typing import NamedTuple

__all__ = ["NOBODY", "CallContext"]


class CallContext(NamedTuple):
    """Who calls, and what came with the message. A tuple, because one is made for every request."""

    peer: str = ""
    """The caller's host without its port; ``unix`` for a socket of this machine, empty if the wire does not say."""
    traceparent: str = ""
    """The caller's span as W3C trace context writes it, unchecked; empty if none was sent."""


NOBODY = CallContext()
"""What is known of a call that no wire brought."""
