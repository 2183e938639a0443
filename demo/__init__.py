"""The main job on real input, through the same commands that a user types: ``python -m demo``."""

__all__: list[str] = []
