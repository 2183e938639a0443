"""Front ends: what callers talk to, in the engine's process or in processes of their own.

``Front`` is the gRPC side of a server, whatever engine stands behind it; ``ServerLimits`` bounds it. Public:
``Front``, ``ServerLimits``.
"""

from serving.frontends.front import Front, ServerLimits

__all__ = ["Front", "ServerLimits"]
