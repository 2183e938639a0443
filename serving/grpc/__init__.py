"""The gRPC side of the server: decode a message, call a handler, encode what it returns.

``add_services`` puts everything on a ``grpc.aio`` server, behind a guard that turns whatever goes wrong into a status,
which ``status`` decides. What is said over the wire is in ``protos``.
"""

from serving.grpc.services import Services, add_services

__all__ = ["Services", "add_services"]
