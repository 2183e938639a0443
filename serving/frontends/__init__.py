"""Front ends: what callers talk to, in the engine's process or in processes of their own.

``Front`` is the gRPC side of a server, whatever engine stands behind it. Alone, it is the server's ``Entrance``. On a
machine with many cores a ``Supervisor`` is: it starts processes (``process``) that share a port (``port``), each with
a ``Front`` on a ``RemoteEngine``. That speaks to its ``Desk`` in the engine's process in ``messages``, over a
``Channel`` of shared memory. Public: ``Front``, ``FrontEndSettings``, ``ServerLimits``.
"""

from serving.frontends.front import Front, ServerLimits
from serving.frontends.settings import FrontEndSettings

__all__ = ["Front", "FrontEndSettings", "ServerLimits"]
