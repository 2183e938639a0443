"""What every number in the documents came from. Ratios are measured side by side in one run."""

__all__: list[str] = []
