"""What the serving engine must show, each claim measured side by side in one run: ``python -m benchmarks.serving``.

A ``Claim`` measures one round of figures, ratios among them; rounds are repeated and medians printed beside what is to
be reached, because machines are shared and noisy. Servers are real ``zoo serve`` processes, callers are real gRPC
clients in a process of their own (``benchmarks.load``).
"""

__all__: list[str] = []
