"""What a running server tells its operators, beside its answers and its log.

``MetricsServer`` gives Prometheus what ``serving.statistics.Statistics`` counted, read when it is asked; ``Tracing``
makes OpenTelemetry spans of requests whose trace is recorded. Neither does anything while a request is answered.
"""
