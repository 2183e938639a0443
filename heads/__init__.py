"""Heads: ``base`` is the fine-tuning library; every other folder is the package of ONE team.

A team's package declares its head in ``head.py`` and brings its labels, its recipe and its tests. Teams never import
each other.
"""

__all__: list[str] = []
