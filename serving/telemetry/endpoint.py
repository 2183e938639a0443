"""Where Prometheus reads the metrics: a small HTTP server in threads of its own, beside the gRPC one."""

from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, start_http_server

from serving.address import check_free, parse_address
from serving.telemetry.metrics import Observed, ServerMetrics

__all__ = ["MetricsServer"]


class MetricsServer:
    """Listens from when it is made until ``close``. Before it is told what to observe, it tells of the process alone.

    Args:
        address: ``host:port``; port 0 takes a free one.

    Raises:
        AddressUnavailable: it cannot be listened on.
    """

    def __init__(self, address: str) -> None:
        asked = parse_address(address)
        check_free(asked)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._server, self._thread = start_http_server(asked.port, asked.host, self._registry)
        self._address = asked._replace(port=self._server.server_port)

    @property
    def address(self) -> str:
        """Where it listens; the port is the one that was taken."""
        return str(self._address)

    def observe(self, observed: Observed, *, runtime: str, device: str) -> None:
        """Tell of an engine from now on.

        Args:
            observed: the engine.
            runtime: the name of what runs its stages.
            device: where they run.
        """
        self._registry.register(ServerMetrics(observed, runtime=runtime, device=device))

    def close(self) -> None:
        """Listen no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
