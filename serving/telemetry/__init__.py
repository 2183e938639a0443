"""What a running server tells its operators, beside its answers and its log.

``MetricsServer`` gives Prometheus what ``serving.statistics.Statistics`` counted, read when it is asked (``endpoint``,
``metrics``). ``open_tracing`` makes OpenTelemetry spans of requests whose trace is recorded (``spans``,
``trace_context``). Neither does anything while a request is answered. Each is imported from its module, since
``spans`` needs the extra ``tracing``.
"""
